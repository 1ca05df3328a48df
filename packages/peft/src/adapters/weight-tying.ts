import type { Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import type { ModuleInfo } from '@posttrain/lm';
import { AdapterConfigError } from './errors.js';
import type { LayerMethod, TargetedConfig } from './layer-method.js';
import type { AdaptableModel } from './peft-adapter.js';
import { isTargeted } from './targets.js';

/** An output layer of the embedding's weight, which has what is trained of the embedding. */
export interface TiedHead {
  readonly head: ModuleInfo;
  readonly embedding: ModuleInfo;
  /** What is trained of the embedding: a copy of its weight, or the tensors of the method. */
  readonly by: 'modulesToSave' | 'targetModules';
  /** The output layer's tensors in files, by their names, of those that are trained. */
  fileTensors(trained: Named): Named;
}

/** The names that PEFT knows embeddings and output layers by. */
const NAMES = ['embed_tokens', 'lm_head'];
const leafOf = (entry: string): string => entry.slice(entry.lastIndexOf('.') + 1);
const isEmbedding = (entry: string): boolean => NAMES.includes(leafOf(entry));

/**
 * `ensureWeightTying`, as PEFT writes a configuration with it: the embedding stands in the place of the output layer in `modulesToSave`, or where
 * that has neither, in `targetModules`. Undefined: the option changes nothing.
 *
 * With `'every entry'`, which is a new adapter, nothing to tie is an error; PEFT warns.
 *
 * @throws AdapterConfigError
 */
export function tieWeights<Config extends TargetedConfig>(
  method: Pick<LayerMethod<Config>, 'headTensors'>,
  { network }: AdaptableModel,
  config: Config,
  strictness: 'every entry' | 'any entry',
): { readonly config: Config; readonly tied: TiedHead } | undefined {
  const refuse = (problem: string): never => {
    throw new AdapterConfigError(`ensureWeightTying: ${problem}`);
  };
  const modules = [...network.modules.values()];
  const embedding = modules.find(({ kind }) => kind === 'embedding')!;
  const head = modules.find(({ tiedTo }) => tiedTo === embedding.name);
  const { modulesToSave, targetModules, trainableTokenIndices: tokens } = config;
  if (!head) {
    if (strictness === 'any entry') return undefined;
    return refuse('the output layer has a weight of its own, so there is nothing to tie');
  }
  const isSaved = modulesToSave?.some(isEmbedding) ?? false;
  const isTarget =
    typeof targetModules === 'string'
      ? NAMES.some((name) => isTargeted(targetModules, name, 'targetModules'))
      : (targetModules?.some(isEmbedding) ?? false);
  if (!isSaved && !isTarget) {
    if (tokens || strictness === 'any entry') return undefined;
    return refuse(
      'neither modulesToSave nor targetModules names embed_tokens or lm_head, by which PEFT knows what is tied',
    );
  }
  if (leafOf(embedding.name) !== NAMES[0]) {
    // PEFT ties it as it is trained, and no more when its file is read, which names the embedding only.
    return refuse(
      `the embedding is called ${embedding.name}, and PEFT ties again what it has read only where it is called embed_tokens; leave it out`,
    );
  }
  if (isSaved && isTarget)
    refuse('embed_tokens or lm_head are in both modulesToSave and targetModules; name them in one');
  const shared = { head, embedding };
  if (isSaved) {
    const weight = `${embedding.name}.weight`;
    return {
      config: { ...config, modulesToSave: withEmbedding(modulesToSave!, shared) },
      tied: {
        ...shared,
        by: 'modulesToSave',
        fileTensors: (trained) => ({ [`${head.name}.weight`]: trained[weight]! }),
      },
    };
  }
  if (!method.headTensors) return refuse('the method enters no embeddings');
  const written =
    typeof targetModules === 'string'
      ? withEmbeddingExpression(targetModules, embedding.name)
      : withEmbedding(targetModules!, shared);
  const headTensors = method.headTensors.bind(method);
  return {
    config: { ...config, targetModules: written },
    tied: {
      ...shared,
      by: 'targetModules',
      fileTensors: (trained) => underName(head.name, headTensors(ofModule(trained, embedding.name))),
    },
  };
}

/** PEFT's order: the embedding's whole path is added at the end, and the first entry that means the output layer goes. */
function withEmbedding(
  entries: readonly string[],
  { head, embedding }: { readonly head: ModuleInfo; readonly embedding: ModuleInfo },
): readonly string[] {
  const all = entries.includes(embedding.name) ? entries : [...entries, embedding.name];
  const ofHead = all.findIndex((entry) => entry === head.name || head.name.endsWith(`.${entry}`));
  return all.filter((_, i) => i !== ofHead);
}

/** Of an expression that has it already, as PEFT's files do, that one. */
function withEmbeddingExpression(expression: string, embedding: string): string {
  const end = `|^${embedding.replaceAll('.', String.raw`\.`)}$)`;
  return expression.startsWith('(?:') && expression.endsWith(end) ? expression : `(?:${expression}${end}`;
}

const ofModule = (tensors: Named, module: string): Named =>
  Object.fromEntries(
    Object.entries(tensors)
      .filter(([name]) => name.startsWith(`${module}.`))
      .map(([name, value]): [string, Tensor] => [name.slice(module.length + 1), value]),
  );

const underName = (module: string, tensors: Named): Named =>
  Object.fromEntries(Object.entries(tensors).map(([name, value]) => [`${module}.${name}`, value]));
