import { parseArgs } from 'node:util';
import { isPosttrainError, PosttrainError } from '@posttrain/interfaces';
import { mergeModels } from './merge-models.js';
import { readMergeRecipe } from './recipe.js';

const HELP = `Usage: posttrain-peft merge RECIPE.yaml --output FOLDER [options]

Merges models of one architecture by a recipe in mergekit's YAML (merge_method, base_model, models or slices,
parameters, dtype, out_dtype, tokenizer_source).

  --output FOLDER        the folder that is written; default: merged
  --random-seed NUMBER   for DARE and DELLA; default 0
  --max-shard-bytes N    most bytes of a file of weights; default 5e9
  --help
`;

/** What was typed cannot be meant. */
class ArgumentsError extends PosttrainError {
  constructor(problem: string) {
    super('ARGUMENTS', problem);
  }
}

type Print = (text: string) => void;

/**
 * `posttrain-peft merge …`. Gives the exit code: 0, 1 where merging failed, 2 where the arguments make no sense; what is wrong is said to
 * `complain`.
 */
export async function mergeCommand(given: readonly string[], print: Print, complain: Print): Promise<number> {
  try {
    const asked = read(given);
    if (asked === 'help') {
      print(HELP);
      return 0;
    }
    const { recipe: path, ...how } = asked;
    const recipe = await readMergeRecipe(path);
    const { folder, tensors, parameters } = await mergeModels(recipe, { ...how, recipeName: path });
    print(`${folder}: ${tensors} tensors, ${parameters} parameters\n`);
    return 0;
  } catch (error) {
    if (!isPosttrainError(error)) throw error;
    complain(`merge: ${error.message}\n`);
    return error instanceof ArgumentsError ? 2 : 1;
  }
}

function read(given: readonly string[]) {
  const { values, positionals } = parse(given);
  if (values.help) return 'help';
  const [command, recipe, ...others] = positionals;
  if (command !== 'merge' || recipe === undefined || others.length > 0) {
    throw new ArgumentsError('the one command is merge RECIPE.yaml; --help says more.');
  }
  const whole = (name: 'random-seed' | 'max-shard-bytes'): number | undefined => {
    const text = values[name];
    if (text === undefined) return undefined;
    const value = Number(text);
    if (Number.isSafeInteger(value) && value >= 0) return value;
    throw new ArgumentsError(`--${name} takes a whole number, not "${text}".`);
  };
  const [randomSeed, maxShardBytes] = [whole('random-seed'), whole('max-shard-bytes')];
  return {
    recipe,
    output: values.output ?? 'merged',
    ...(randomSeed !== undefined && { randomSeed }),
    ...(maxShardBytes !== undefined && { maxShardBytes }),
  };
}

function parse(given: readonly string[]) {
  try {
    return parseArgs({
      args: [...given],
      options: {
        output: { type: 'string' },
        'random-seed': { type: 'string' },
        'max-shard-bytes': { type: 'string' },
        help: { type: 'boolean' },
      },
      allowPositionals: true,
    });
  } catch (error) {
    throw new ArgumentsError((error as Error).message);
  }
}
