/**
 * The main job: a Hugging Face model folder in; a fine-tuned, reinforced, searched and evaluated model out.
 *
 * Run: `npm start`, or `npm start -- --model DIR --data FILE`. A run that was interrupted goes on where it was. See README.md.
 */
import { isPosttrainError } from '@posttrain/interfaces';
import { CommandLineError } from 'posttrain';
import { HELP } from './flags.js';

try {
  const given = process.argv.slice(2);
  if (given.includes('--help')) console.log(HELP());
  // Its code takes seconds to load.
  else await (await import('./main.js')).main(given);
} catch (error) {
  if (!isPosttrainError(error)) throw error;
  // A mistake in what was given, not in the program: the message says what to do, a stack would hide it.
  console.error(`\n${error.name}: ${error.message}`);
  process.exitCode = error instanceof CommandLineError ? 2 : 1;
}
