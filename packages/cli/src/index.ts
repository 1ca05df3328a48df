export type { Command, CommandContext } from './command.js';
export { type CommandLine, commandLine } from './options/command-line.js';
export { CommandLineError } from './options/command-line-error.js';
export { posttrain } from './posttrain.js';
