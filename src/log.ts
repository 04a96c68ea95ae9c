import winston from 'winston';

/** The four levels, most urgent first. */
export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** `json`: one object a line; `text`: for people. */
export const LOG_FORMATS = ['json', 'text'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/**
 * Events with fields, written to stderr: `log.info('session started', { session, pod })`. Fields never hold stdin, output,
 * command arguments or credentials.
 */
export type Logger = Record<LogLevel, (event: string, fields?: Readonly<Record<string, unknown>>) => void>;

export function createLogger({ level, format }: { level: LogLevel; format: LogFormat }): Logger {
  const { combine, timestamp, printf } = winston.format;
  const json = printf(line => JSON.stringify(line)); // winston's own looks for circles first, which takes as long as all the rest
  const text = printf(({ timestamp: time, level: lineLevel, message, ...fields }) => {
    const rest = Object.entries(fields).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
    return [String(time), lineLevel.toUpperCase(), String(message), ...rest].join(' ');
  });
  const logger = winston.createLogger({
    level,
    format: combine(timestamp(), format === 'json' ? json : text),
    // stdout belongs to the ready line.
    transports: new winston.transports.Console({ stderrLevels: [...LOG_LEVELS] }),
    exitOnError: false,
  });
  return {
    error: (event, fields) => void logger.error(event, fields),
    warn: (event, fields) => void logger.warn(event, fields),
    info: (event, fields) => void logger.info(event, fields),
    debug: (event, fields) => void logger.debug(event, fields),
  };
}
