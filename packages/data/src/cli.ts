#!/usr/bin/env node
import { dataCommand } from './command/data-command.js';

process.exitCode = await dataCommand(process.argv.slice(2), {
  print: (text) => process.stdout.write(text),
  complain: (text) => process.stderr.write(text),
  environment: process.env,
});
