#!/usr/bin/env node
import { evalCommand } from './command/eval-command.js';

process.exitCode = await evalCommand(process.argv.slice(2), {
  print: (text) => process.stdout.write(text),
  complain: (text) => process.stderr.write(text),
  environment: process.env,
});
