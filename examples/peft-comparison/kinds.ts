/** A new adapter of any method that `peftMethods` lists, at the sizes that are asked for: for the study here and for the benchmarks. */
import type { CausalLM } from '@posttrain/lm';
import { type AnyPeftMethod, createAdapter, type PeftAdapter, peftMethods, TargetModulesError } from '@posttrain/peft';

/** What a method needs beside PEFT's defaults and `targetModules: 'all-linear'`. */
export interface KindSizes {
  readonly seed: number;
  /** Of the run, for AdaLoRA. */
  readonly totalStep: number;
  /** Of all prompts. */
  readonly numVirtualTokens: number;
  /** Of C3A, and the length of VB-LoRA's vectors: both divide all widths of the model. */
  readonly block: number;
  /** The text of CPT. Default: the first tokens of the vocabulary. */
  readonly cptTokenIds?: readonly number[];
  /** Two LoRA adapters in folders, for what mixes them. */
  experts(): Promise<Readonly<Record<string, string>>>;
  /** More options, by method. */
  readonly more?: Readonly<Record<string, object>>;
}

async function configOf(kind: string, sizes: KindSizes): Promise<object> {
  const { totalStep, numVirtualTokens, block } = sizes;
  switch (kind) {
    case 'ADALORA':
      return { totalStep };
    case 'C3A':
      return { blockSize: block, initWeights: true };
    case 'VBLORA':
      return { vectorLength: block };
    case 'PROMPT_TUNING':
    case 'MULTITASK_PROMPT_TUNING':
    case 'PREFIX_TUNING':
    case 'P_TUNING':
      return { numVirtualTokens };
    case 'CPT':
      return {
        cptTokenIds: sizes.cptTokenIds ?? Array.from({ length: numVirtualTokens }, (_, i) => i),
        cptTokensTypeMask: null,
      };
    case 'XLORA':
      return { adapters: await sizes.experts(), xloraDropoutP: 0 };
    case 'MOLE':
      return { adapters: await sizes.experts() };
    default:
      return {};
  }
}

/** @throws AdapterConfigError for a method that does not fit the model, such as BitFit where there are no biases */
export async function adapterOfType(
  model: CausalLM,
  kind: string,
  sizes: KindSizes,
  rows: readonly (readonly number[])[] = [],
): Promise<PeftAdapter> {
  const method = peftMethods[kind as keyof typeof peftMethods] as AnyPeftMethod<never>;
  const config = { ...(await configOf(kind, sizes)), ...sizes.more?.[kind] };
  const make = (own: object) =>
    createAdapter(model, method, own as never, { seed: sizes.seed, rows }) as Promise<PeftAdapter>;
  if (!('targetModules' in method.options.read({} as never))) return make(config);
  try {
    return await make({ targetModules: 'all-linear', ...config });
  } catch (error) {
    // Methods of norms and biases know their modules.
    if (error instanceof TargetModulesError) return make(config);
    throw error;
  }
}
