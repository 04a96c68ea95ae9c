import packageJson from '../package.json' with { type: 'json' };

/** execlet's own version: package.json is the one place that says it. */
export const VERSION: string = packageJson.version;
