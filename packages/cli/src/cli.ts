#!/usr/bin/env node
import { posttrain } from './posttrain.js';

process.exitCode = await posttrain(process.argv.slice(2), {
  print: (text) => process.stdout.write(text),
  complain: (text) => process.stderr.write(text),
  environment: process.env,
});
