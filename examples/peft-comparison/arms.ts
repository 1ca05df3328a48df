/** The arms: no training, all weights, every method that `peftMethods` lists, so that a new one enters by itself, and ways to start or to train. */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { galore, type Optimizer } from '@posttrain/core-tensor/optim';
import type { CausalLM } from '@posttrain/lm';
import {
  createAdapter,
  loftq,
  lora,
  loraFa,
  loraPlus,
  type PeftAdapter,
  peftMethods,
  saveAdapter,
} from '@posttrain/peft';
import { sft } from '@posttrain/training';
import { adapterOfType } from './kinds.js';
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

/** What is trained. */
export interface ArmStart {
  readonly model: CausalLM;
  /** None: all weights are trained. */
  readonly adapter?: PeftAdapter;
  /** Default: AdamW. */
  readonly optimizer?: Optimizer<object>;
}

/** A method of `peftMethods` in another form. */
interface Variant {
  readonly kind: string;
  readonly config?: object | ((model: CausalLM) => object);
  readonly optimizer?: () => Optimizer<object>;
  /** The start looks at rows of the task. */
  readonly ofRows?: boolean;
  /** The base is in NF4. */
  readonly isQuantized?: boolean;
}

const started = (initLoraWeights: string, more: object = {}): Variant => ({
  kind: 'LORA',
  config: { initLoraWeights, ...more },
});
const VARIANTS: Readonly<Record<string, Variant>> = {
  // arXiv 2602.04118: all modules share 13 numbers.
  TINYLORA_13: { kind: 'TINYLORA', config: { u: 13, weightTying: 1 } },
  RSLORA: { kind: 'LORA', config: { useRslora: true } },
  DORA: { kind: 'LORA', config: { useDora: true } },
  PISSA: started('pissa'),
  OLORA: started('olora'),
  LORA_ORTHOGONAL: started('orthogonal'),
  EVA: { ...started('eva'), ofRows: true },
  CORDA: { ...started('corda'), ofRows: true },
  LORA_GA: { ...started('lora_ga', { loraGaConfig: {} }), ofRows: true },
  // Acts from the word on; no text of the other tasks has it.
  ALORA: { kind: 'LORA', config: (model) => ({ aloraInvocationTokens: model.tokenizer.encode('before') }) },
  LORA_PLUS: { kind: 'LORA', optimizer: loraPlus },
  LORA_FA: { kind: 'LORA', optimizer: loraFa },
  QLORA: { kind: 'LORA', isQuantized: true },
  PFEIFFER: { kind: 'HOULSBY', config: { parts: ['mlp'] } },
  PARALLEL: { kind: 'HOULSBY', config: { placement: 'parallel', scaling: 4 } },
};
/** Not made as the others: all weights in a projection of their gradients, and a base that is quantised for its adapter. */
const OTHERS: Readonly<Record<string, (setting: ArmSetting) => Promise<ArmStart>>> = {
  GALORE: async ({ model, steps }) => ({
    model,
    optimizer: galore({ rank: 8, updateInterval: Math.max(1, Math.floor(steps / 6)) }),
  }),
  LOFTQ: async ({ model, seed }) => {
    const { model: base, adapter } = await loftq(model, { targetModules: 'all-linear' }, { seed });
    return { model: base, adapter: adapter as unknown as PeftAdapter };
  },
};

export const [BASE, FULL] = ['base', 'full'];
export const METHODS: readonly string[] = [
  ...Object.keys(peftMethods),
  ...Object.keys(VARIANTS),
  ...Object.keys(OTHERS),
];

/** How an arm that trains begins. */
export async function startOf(arm: string, setting: ArmSetting): Promise<ArmStart> {
  const { model, seed, steps } = setting;
  if (arm === FULL) return { model };
  if (OTHERS[arm]) return OTHERS[arm](setting);
  const { kind, config, optimizer, ofRows, isQuantized } = VARIANTS[arm] ?? { kind: arm };
  const base = isQuantized ? await model.quantize({ method: 'nf4' }) : model;
  // Two in one, so that there are as many tokens as EVA looks for directions.
  const rows = ofRows ? splitOf('before', seed).train.slice(0, 64) : [];
  const texts = rows.map(({ prompt, completion }) => model.tokenizer.encode(prompt + completion));
  const pairs = texts.slice(32).map((text, i) => [...texts[i]!, ...text]);
  const sizes = {
    ...{ seed, totalStep: steps, numVirtualTokens: 8, block: 32 },
    cptTokenIds: model.tokenizer.encode('before fh:eg'),
    experts: () => experts(setting),
    more: {
      // The ranks are at their target for the last fifth.
      ADALORA: { tfinal: Math.floor(steps / 5), deltaT: Math.max(1, Math.floor(steps / 20)) },
      VBLORA: { numVectors: 64 },
      ...(config && { [kind]: typeof config === 'function' ? config(model) : config }),
    },
  };
  const adapter = await adapterOfType(base, kind, sizes, pairs);
  return { model: base, adapter, ...(optimizer && { optimizer: optimizer() }) };
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

/** Two LoRA adapters for X-LoRA and MoLE to mix, each with the budget of an arm: of the task itself, and of `skip`. */
async function experts({ model, seed, steps, runs }: ArmSetting): Promise<Readonly<Record<string, string>>> {
  if (!runs) throw new Error('what mixes adapters needs a folder for them');
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
