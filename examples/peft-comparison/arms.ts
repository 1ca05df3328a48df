/** The arms: no training, all weights, and every method that `peftMethods` lists, so that a new one enters by itself. */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import type { CausalLM } from '@posttrain/lm';
import {
  type AnyPeftMethod,
  createAdapter,
  lora,
  type PeftAdapter,
  peftMethods,
  saveAdapter,
  TargetModulesError,
  tinyLora,
} from '@posttrain/peft';
import { sft } from '@posttrain/training';
import { splitOf, type TaskRow } from './tasks.js';

/** What an arm is made from. */
export interface ArmSetting {
  readonly model: CausalLM;
  readonly seed: number;
  /** Updates of the run. */
  readonly steps: number;
  /** Where what takes time is kept. */
  readonly runs?: string | undefined;
}

const PROMPT = { numVirtualTokens: 8 };
/** Where the defaults are not meant for so small a model, or something must be said. All others have `targetModules: 'all-linear'`. */
const CONFIGS: Readonly<Record<string, (setting: ArmSetting) => object | Promise<object>>> = {
  // The ranks are at their target for the last fifth.
  ADALORA: ({ steps }) => ({
    totalStep: steps,
    tfinal: Math.floor(steps / 5),
    deltaT: Math.max(1, Math.floor(steps / 20)),
  }),
  C3A: () => ({ blockSize: 32, initWeights: true }),
  VBLORA: () => ({ numVectors: 64, vectorLength: 32 }),
  PROMPT_TUNING: () => PROMPT,
  MULTITASK_PROMPT_TUNING: () => PROMPT,
  PREFIX_TUNING: () => PROMPT,
  P_TUNING: () => PROMPT,
  CPT: ({ model }) => ({ cptTokenIds: model.tokenizer.encode('before fh:eg'), cptTokensTypeMask: null }),
  XLORA: async (setting) => ({ adapters: await experts(setting), xloraDropoutP: 0 }),
};

/** Arms beside those of `peftMethods`. */
const MORE: Readonly<Record<string, readonly [AnyPeftMethod<never>, object]>> = {
  // arXiv 2602.04118: all modules share 13 numbers.
  TINYLORA_13: [tinyLora as AnyPeftMethod<never>, { u: 13, weightTying: 1, targetModules: 'all-linear' }],
};

export const [BASE, FULL] = ['base', 'full'];
export const METHODS: readonly string[] = [...Object.keys(peftMethods), ...Object.keys(MORE)];

/** A new adapter of an arm. */
export async function adapterOf(arm: string, setting: ArmSetting): Promise<PeftAdapter> {
  const { model, seed } = setting;
  const make = (method: AnyPeftMethod<never>, config: object) =>
    createAdapter(model, method, config as never, { seed }) as Promise<PeftAdapter>;
  if (MORE[arm]) return make(...MORE[arm]);
  const method = peftMethods[arm as keyof typeof peftMethods] as AnyPeftMethod<never>;
  const config = { ...(await CONFIGS[arm]?.(setting)) };
  if (!('targetModules' in method.options.read({} as never))) return make(method, config);
  try {
    return await make(method, { targetModules: 'all-linear', ...config });
  } catch (error) {
    // Methods of norms and biases know their modules.
    if (error instanceof TargetModulesError) return make(method, config);
    throw error;
  }
}

/** Rows with what an adapter reads of them, where it cannot find it. */
export function rowsFor(model: CausalLM, adapter: PeftAdapter | undefined, rows: readonly TaskRow[]): TaskRow[] {
  const names = (adapter?.rowInputs?.names ?? []).filter((name) => name !== 'invocationStart');
  if (names.length === 0) return [...rows];
  return rows.map((row) => ({
    ...row,
    adapterInputs: Object.fromEntries(
      names.map((name) => [name, name === 'promptTokens' ? model.tokenizer.encode(row.prompt).length : 0]),
    ),
  }));
}

/** Two LoRA adapters for X-LoRA to mix, each with the budget of an arm: of the task itself, and of `skip`. */
async function experts({ model, seed, steps, runs }: ArmSetting): Promise<Readonly<Record<string, string>>> {
  if (!runs) throw new Error('X-LoRA needs a folder for its adapters');
  const folders: Record<string, string> = {};
  for (const [i, task] of (['before', 'skip'] as const).entries()) {
    const folder = join(runs, `experts-${seed}`, String(i));
    folders[i] = folder;
    if (
      await access(join(folder, 'adapter_config.json')).then(
        () => true,
        () => false,
      )
    )
      continue;
    const start = await createAdapter(model, lora, { targetModules: 'all-linear' }, { seed });
    const { adapter } = await sft({
      ...{ model, adapter: start, rows: splitOf(task, seed).train, steps, seed },
      ...{ batchSize: 16, learningRate: 1.6e-2, schedule: 'cosine', warmupSteps: Math.ceil(steps / 20) },
    });
    await saveAdapter(folder, adapter!);
  }
  return folders;
}
