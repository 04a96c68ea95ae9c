import { Option, type Command } from 'commander';
import { SETTINGS } from '../config/schema.ts';

/** What was given on the command line, keys in camelCase. */
export type SettingFlags = Readonly<Record<string, string | readonly string[]>>;

/** Adds a flag for every setting of the daemon. */
export function addSettingFlags(command: Command): Command {
  for (const { flag, placeholder, help, default: byDefault, isSwitch, isRepeatable } of SETTINGS) {
    const value = isSwitch ? `[${placeholder}]` : `<${placeholder}>`;
    const option = new Option(`${flag} ${value}`, `${help} (default: ${byDefault})`);
    if (isSwitch) option.preset('true');
    if (isRepeatable) option.argParser((given: string, before?: readonly string[]) => [...(before ?? []), given]);
    command.addOption(option);
  }
  return command;
}
