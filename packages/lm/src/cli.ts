#!/usr/bin/env node
import { SERVE_HELP } from './serve/serve-arguments.js';
import { serveCommand } from './serve/serve-command.js';

const [command, ...rest] = process.argv.slice(2);
if (command === 'serve') process.exitCode = await serveCommand(rest);
else if (command === '--help') process.stdout.write(SERVE_HELP);
else {
  process.stderr.write(`There is no command ${JSON.stringify(command ?? '')}.\n\n${SERVE_HELP}`);
  process.exitCode = 2;
}
