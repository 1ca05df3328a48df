import { options, text } from '@posttrain/interfaces';
import { loadAdapter, mergeAdapter, mergeCommand as mergeRecipe } from '@posttrain/peft';
import type { CommandContext } from '../command.js';
import { loadModel } from '../training/load.js';
import { type DeclaredCommand, runDeclared } from './declared-command.js';

const shape = {
  /** The base: a Hugging Face folder, a GGUF file, or a name on the hub. */
  model: text({}),
  /** The folder of the adapter. */
  adapter: text({}),
  /** The folder that is written, whole or not at all. */
  output: text({}),
};
const declared = options('merge', shape);

const adapterCommand: DeclaredCommand<typeof shape> = {
  name: 'merge',
  usage: 'MODEL ADAPTER OUTPUT, or merge RECIPE.yaml --output FOLDER',
  about:
    "Merges an adapter into its model. With a recipe in mergekit's YAML it merges models; posttrain merge RECIPE.yaml --help says more of that.",
  declared,
  positionals: ['model', 'adapter', 'output'],
  async run({ model: name, adapter: folder, output }, { print }) {
    const model = await loadModel(name);
    const { model: merged, drift } = await mergeAdapter(model, await loadAdapter(model, folder));
    await merged.save(output);
    print(`${output}: merging changed the logits by at most ${drift.toExponential(1)}\n`);
    return 0;
  },
};

/** An adapter into a model, or models by a recipe. */
export function mergeCommand(given: readonly string[], context: CommandContext): Promise<number> {
  if (!given.some((one) => /\.ya?ml$/i.test(one) && !one.startsWith('--'))) {
    return runDeclared(adapterCommand, given, context);
  }
  const print = (said: string) => context.print(said.replaceAll('posttrain-peft merge', 'posttrain merge'));
  return mergeRecipe(['merge', ...given], print, context.complain);
}
