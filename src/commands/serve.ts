import { Command } from 'commander';
import { bindFailure } from '../config/bind-address.ts';
import { loadSettings } from '../config/load.ts';
import type { Settings } from '../config/schema.ts';
import { SettingsError } from '../config/settings-error.ts';
import type { Daemon } from '../daemon.ts';
import { readPlainFile } from '../files/plain-file.ts';
import { createLogger, type Logger } from '../log.ts';
import { addSettingFlags, type SettingFlags } from './setting-flags.ts';

/** `execlet serve`: the daemon, until SIGTERM or SIGINT. */
export function serveCommand(): Command {
  const command = addSettingFlags(new Command('serve').description('run the daemon'));
  return command.action(async () => serve(command.opts<SettingFlags>()));
}

async function serve(flags: SettingFlags): Promise<void> {
  const settings = loadSettings({ flags, env: process.env, readFile: readPlainFile });
  const log = createLogger({ level: settings.logLevel, format: settings.logFormat });
  exitOnUncaughtException(log);
  const stopAsked = stopSignal();
  let reload = (): Promise<void> => Promise.resolve();
  process.on('SIGHUP', () => void reload()); // from the beginning: it would end the process
  const daemon = await start(settings, log);
  reload = () => daemon.reload();
  const { address, port } = daemon;
  process.stdout.write(`${JSON.stringify({ event: 'ready', address, port })}\n`);
  log.info('stopping', { signal: await stopAsked });
  await daemon.stop();
  exitAfterLogging(0);
}

async function start(settings: Settings, log: Logger): Promise<Daemon> {
  // Loaded here, so that --help and a wrong setting are answered without it.
  const { startDaemon } = await import('../daemon.ts');
  try {
    return await startDaemon({ settings, log });
  } catch (cause) {
    if (cause instanceof SettingsError) throw cause;
    const bound = { host: settings.address, port: settings.port };
    throw new Error(bindFailure(cause, bound, { host: '--address', port: '--port' }), { cause });
  }
}

/** Resolves with the first SIGTERM or SIGINT; the second ends the process at once. */
export function stopSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>();
  let asked = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (asked) process.exit(1);
    asked = true;
    resolve(signal);
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  return promise;
}

/** After an exception that nobody caught nothing can be relied on, so the daemon ends; its supervisor starts it again. */
function exitOnUncaughtException(log: Logger): void {
  process.on('uncaughtException', error => {
    log.error('uncaught exception', { error: error.stack ?? error.message });
    exitAfterLogging(1);
  });
}

/** The log writes in a later turn of the event loop; what a session may still hold open must not keep the process. */
function exitAfterLogging(exitCode: number): void {
  setImmediate(() => process.exit(exitCode));
}
