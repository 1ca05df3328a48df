#!/usr/bin/env node
import { mergeCommand } from './merging/merge-command.js';

process.exitCode = await mergeCommand(
  process.argv.slice(2),
  (text) => process.stdout.write(text),
  (text) => process.stderr.write(text),
);
