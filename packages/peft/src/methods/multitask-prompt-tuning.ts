import { type Tensor, tensor } from '@posttrain/core-tensor';
import { openSafetensors } from '@posttrain/core-tensor/io';
import type { Named } from '@posttrain/core-tensor/optim';
import { integer, oneOf, type Read, text } from '@posttrain/interfaces';
import { AdapterConfigError } from '../adapters/errors.js';
import { normalWith } from '../adapters/initial.js';
import { methodOptions, orNull } from '../adapters/method-options.js';
import type { PeftMethod } from '../adapters/peft-method.js';
import { TASK, taskInputs } from '../adapters/row-inputs.js';
import {
  PROMPT_EMBEDDINGS,
  promptFacts,
  promptOptions,
  promptPlan,
  promptTextOptions,
  randomStart,
  textStart,
  vocabularyStart,
} from './prompt-learning.js';

const SOURCES = ['AVERAGE_SOURCE_TASKS', 'EXACT_SOURCE_TASK', 'ONLY_SOURCE_SHARED'] as const;

const multitaskPromptTuningOptions = methodOptions('MULTITASK_PROMPT_TUNING', {
  ...promptOptions,
  /**
   * `RANDOM`: P normal with deviation 1. `SAMPLE_VOCAB`: embeddings of tokens drawn from the vocabulary. `TEXT`: embeddings of the
   * tokens of a text, given to `createAdapter` as the only one of its `rows`, repeated or cut. From the adapter_model.safetensors of an earlier adapter: `AVERAGE_SOURCE_TASKS` and
   * `EXACT_SOURCE_TASK` take P and for the only task here the mean of the factors of all or those of one of its tasks,
   * `ONLY_SOURCE_SHARED` takes P. Default `RANDOM`.
   */
  promptTuningInit: oneOf(['RANDOM', 'SAMPLE_VOCAB', 'TEXT', ...SOURCES], { default: 'RANDOM' }),
  ...promptTextOptions,
  /** The file of the earlier adapter. Default: none. */
  promptTuningInitStateDictPath: orNull(text({})),
  /** Which of its tasks `EXACT_SOURCE_TASK` takes. Default 0. */
  promptTuningInitTask: integer({ default: 0, min: 0 }),
  /** Rank of the factors of a task. Default 1. */
  numRanks: integer({ default: 1, min: 1 }),
  /** Tasks. Default 1. */
  numTasks: integer({ default: 1, min: 1 }),
});
/** Options of `multitaskPromptTuning`, complete, by PEFT's names in camel case. */
export type MultitaskPromptTuningConfig = Read<typeof multitaskPromptTuningOptions>;

const [COLUMNS, ROWS] = ['prefix_task_cols', 'prefix_task_rows'];
const NAMES = [PROMPT_EMBEDDINGS, COLUMNS, ROWS];

/** How far from zero the factors of a task start, as in PEFT. */
const DEVIATION = 0.02;

/**
 * Multitask prompt tuning (arXiv 2303.02861): before a sequence of task t stand the virtual tokens P ⊙ (U_t V_t), with P [v, width]
 * shared by all tasks, U [tasks, v, r] and V [tasks, r, width].
 *
 * Every sequence says its task: `adapterInputs: { taskIds: 2 }` of rows, requests and scored sequences. Those of each task are
 * computed once, in a pass as in generation.
 */
export const multitaskPromptTuning: PeftMethod<MultitaskPromptTuningConfig> = {
  peftType: 'MULTITASK_PROMPT_TUNING',
  options: multitaskPromptTuningOptions,
  fileDefaults: { tokenizer_kwargs: null },
  factNames: promptFacts.names,
  facts: ({ model }) => promptFacts.of(model, { width: model.hiddenSize, heads: model.numAttentionHeads }),

  plan: promptPlan,

  parameters: ({ config: { numVirtualTokens, numTasks, numRanks }, model: { hiddenSize } }) =>
    numVirtualTokens! * hiddenSize + numTasks * numRanks * (numVirtualTokens! + hiddenSize),

  async prepare(context): Promise<Named> {
    const { config, model, isLoaded } = context;
    const { promptTuningInit: init, numVirtualTokens } = config;
    if (init === 'TEXT') return textStart(context, numVirtualTokens!);
    if (init === 'SAMPLE_VOCAB') return vocabularyStart(context, numVirtualTokens!);
    return init === 'RANDOM' || isLoaded ? {} : sourceStart(init, config, model.hiddenSize);
  },

  init({ config, model: { hiddenSize: width } }, _, key, prepared) {
    const { numVirtualTokens: count, numTasks, numRanks } = config;
    const random = {
      [PROMPT_EMBEDDINGS]: randomStart(key.child(0), count!, width),
      [COLUMNS!]: normalWith(key.child(1), [numTasks, count!, numRanks], DEVIATION),
      [ROWS!]: normalWith(key.child(2), [numTasks, numRanks, width], DEVIATION),
    };
    return { trained: { ...random, ...prepared }, frozen: {} };
  },

  fileKey: (name) => (NAMES.includes(name) ? name : promptFacts.fileKey(name)),
  virtualTokens: ({ numVirtualTokens }) => numVirtualTokens!,
  rowInputs: ({ numTasks }) => taskInputs('multitask prompt tuning', numTasks),

  hooks(_, { trained }) {
    const ofTasks = trained[COLUMNS!]!.matmul(trained[ROWS!]!);
    return { virtualTokens: { kinds: ofTasks.mul(trained[PROMPT_EMBEDDINGS]!.expandDims(0)), kindOf: TASK } };
  },
};

/** What the file of an earlier adapter starts this one with. */
async function sourceStart(
  init: (typeof SOURCES)[number],
  config: MultitaskPromptTuningConfig,
  width: number,
): Promise<Named> {
  const { promptTuningInitStateDictPath: path, promptTuningInitTask: task, numVirtualTokens: count } = config;
  const refuse = (problem: string): never => {
    throw new AdapterConfigError(`promptTuningInit "${init}" ${problem}`);
  };
  if (path === null) return refuse('needs promptTuningInitStateDictPath, the file of the earlier adapter');
  if (init !== 'ONLY_SOURCE_SHARED' && config.numTasks !== 1)
    return refuse(`is of one task, and numTasks is ${config.numTasks}`);
  const file = await openSafetensors(path);
  try {
    const read = async (name: string, wanted: readonly (number | undefined)[]): Promise<Tensor> => {
      const shape = file.tensors.get(name)?.shape;
      if (shape?.length !== wanted.length || wanted.some((size, i) => size !== undefined && size !== shape[i])) {
        const sizes = wanted.map((size) => size ?? 'any').join(', ');
        return refuse(`needs ${name} [${sizes}] in ${path}, which has ${shape ? `[${shape.join(', ')}]` : 'none'}`);
      }
      return tensor((await file.read(name, { as: 'float32' })).data, [...shape]);
    };
    const shared = { [PROMPT_EMBEDDINGS]: await read(PROMPT_EMBEDDINGS, [count!, width]) };
    if (init === 'ONLY_SOURCE_SHARED') return shared;
    const factors = {
      [COLUMNS!]: await read(COLUMNS!, [undefined, count!, config.numRanks]),
      [ROWS!]: await read(ROWS!, [undefined, config.numRanks, width]),
    };
    const tasks = factors[ROWS!]!.shape[0]!;
    if (init === 'EXACT_SOURCE_TASK' && task >= tasks) return refuse(`takes task ${task}, and ${path} has ${tasks}`);
    const ofTask = (x: Tensor) =>
      init === 'AVERAGE_SOURCE_TASKS' ? x.mean(0, { keepDims: true }) : x.slice(0, task, task + 1);
    return {
      ...shared,
      ...Object.fromEntries(Object.entries(factors).map(([name, x]) => [name, ofTask(x)])),
    };
  } finally {
    await file.close();
  }
}
