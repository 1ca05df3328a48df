export type { Command, CommandContext } from './command.js';
export { type AnyOptions, asCommandLineError, type CommandLine, commandLine } from './options/command-line.js';
export { CommandLineError } from './options/command-line-error.js';
export { type HelpSection, optionsHelp } from './options/help.js';
export { posttrain } from './posttrain.js';
