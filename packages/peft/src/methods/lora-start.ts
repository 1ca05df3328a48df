import type { Key, Tensor } from '@posttrain/core-tensor';
import { custom, showValue } from '@posttrain/interfaces';
import { toTensor } from '../adapters/dense.js';
import { AdapterConfigError } from '../adapters/errors.js';
import type { AdapterTarget, PreparedTarget, RowStart } from '../adapters/layer-method.js';
import { nestedOption } from '../adapters/method-options.js';
import type { AdaptableModel } from '../adapters/peft-adapter.js';
import { weightGradients } from '../adapters/row-passes.js';
import { CORDA_DEFAULTS, type CordaConfig, cordaFactors } from './corda.js';
import { EVA_DEFAULTS, type EvaConfig, evaDirections } from './eva.js';
import type { LoraConfig } from './lora.js';
import { LORA_GA_DEFAULTS, type LoraGaConfig, loraGaFactors } from './lora-ga.js';
import { oloraFactors } from './olora.js';
import { pissaFactors } from './pissa.js';

// Where LoRA's factors start, beside true, false and "gaussian".

const STARTS = ['gaussian', 'orthogonal', 'pissa', 'olora', 'eva', 'corda', 'lora_ga'] as const;
type Start = (typeof STARTS)[number];

const isNumber = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value);
const isFlag = (value: unknown): boolean => typeof value === 'boolean';
const isNothing = (value: unknown): boolean => value === null;
const among =
  (...words: readonly string[]) =>
  (value: unknown): boolean =>
    words.includes(value as string);

export const startOptions = {
  /**
   * True: A uniform in ±1/√in and B zero. `gaussian`: A normal with deviation 1/r and B zero. False: B random too, so
   * that training starts away from the base (for tests). `orthogonal`: both random, with B A = 0. `pissa`: the leading singular vectors of the
   * weight, which stay in what is frozen (PiSSA, arXiv 2404.02948). `olora`: the first factors of its QR decomposition, likewise (OLoRA, arXiv
   * 2406.01775). Of the `rows` that `createAdapter` is given: `eva`, A the directions in which a module's inputs vary most (EVA, arXiv 2410.07170);
   * `corda`, directions of the weight that matter for the rows (CorDA, arXiv 2406.05223); `lora_ga`, those of its gradient (LoRA-GA, arXiv 2407.05000),
   * both likewise in what is frozen. Default true.
   */
  initLoraWeights: custom<boolean | Start>()(
    `one of true, false, ${STARTS.map((start) => `"${start}"`).join(', ')}`,
    (value) => typeof value === 'boolean' || STARTS.includes(value as Start),
    { default: true },
  ),
  /** Of `eva`: how ranks are given out, `{ rho: 1 }` leaves them as they are. Default: PEFT's. */
  evaConfig: nestedOption<EvaConfig>(EVA_DEFAULTS, {
    rho: (value) => isNumber(value) && (value as number) >= 1,
    tau: (value) => isNumber(value) && (value as number) >= 0 && (value as number) <= 1,
    useLabelMask: isFlag,
    labelMaskValue: isNumber,
    whiten: isFlag,
    adjustScalingFactors: isFlag,
  }),
  /** Of `corda`: `{ cordaMethod: 'kpm' }` keeps what the rows need. Default: PEFT's. */
  cordaConfig: nestedOption<CordaConfig>(CORDA_DEFAULTS, {
    cordaMethod: among('ipm', 'kpm'),
    cacheFile: isNothing,
    covarianceFile: isNothing,
    verbose: isFlag,
    useFloat16ForCovariance: (value) => value === false,
    pruneTemporaryFields: isFlag,
  }),
  /** Of `lora_ga`, which needs it: which directions, and how long; `{}` is PEFT's own. Default: none. */
  loraGaConfig: nestedOption<LoraGaConfig>(LORA_GA_DEFAULTS, {
    direction: among('ArBr', 'A2rBr', 'ArB2r', 'random'),
    scale: among('stable', 'weight_svd', 'gd_scale', 'unit'),
    stableGamma: (value) => isNumber(value) && (value as number) > 0,
  }),
};

/** The options of a start that was asked for without them, as PEFT writes them. */
export function completeStart(config: LoraConfig): LoraConfig {
  const { initLoraWeights: start } = config;
  return {
    ...config,
    evaConfig: config.evaConfig ? { ...EVA_DEFAULTS, ...config.evaConfig } : start === 'eva' ? EVA_DEFAULTS : null,
    cordaConfig: config.cordaConfig
      ? { ...CORDA_DEFAULTS, ...config.cordaConfig }
      : start === 'corda'
        ? CORDA_DEFAULTS
        : null,
    loraGaConfig: config.loraGaConfig && { ...LORA_GA_DEFAULTS, ...config.loraGaConfig },
  };
}

/** Whether the factors are a part of the weight, which is subtracted beside it. */
export const isOfWeight = ({ initLoraWeights }: LoraConfig): boolean =>
  ['pissa', 'olora', 'corda', 'lora_ga'].includes(initLoraWeights as string);

/** Whether rows decide the frozen factors, so that nothing but they can make them again. */
export const isOfRows = ({ initLoraWeights }: LoraConfig): boolean =>
  initLoraWeights === 'corda' || initLoraWeights === 'lora_ga';

/** @throws AdapterConfigError where the start cannot be with the other options, or for a module of rank r */
export function checkStart(
  config: LoraConfig,
  targets: readonly { readonly target: AdapterTarget; readonly r: number }[],
): void {
  const { initLoraWeights: start, useDora, loraBias, aloraInvocationTokens: invocation } = config;
  if (typeof start === 'boolean') return;
  const refuse = (problem: string): never => {
    throw new AdapterConfigError(problem);
  };
  if (loraBias) refuse('loraBias needs initLoraWeights true or false, as in PEFT');
  if (start === 'gaussian') return;
  if (isOfWeight(config) && useDora) refuse(`initLoraWeights "${start}" is not supported with useDora`);
  if (isOfWeight(config) && invocation)
    refuse(`initLoraWeights "${start}" is not supported with aloraInvocationTokens`);
  if (start === 'lora_ga' && config.loraGaConfig === null)
    refuse('initLoraWeights "lora_ga" needs loraGaConfig, as in PEFT');
  for (const { target, r } of targets) {
    const few = Math.min(target.inFeatures, target.outFeatures);
    if (target.kind !== 'linear') refuse(`${target.name}: initLoraWeights "${start}" is for linear layers`);
    if (start === 'orthogonal' && r % 2 !== 0)
      refuse(`${target.name}: initLoraWeights "orthogonal" needs an even rank, not ${r}`);
    if (isOfWeight(config) && r > few) refuse(`${target.name}: the weight has ${few} singular values, not ${r}`);
    if (start === 'lora_ga' && 2 * r > few) {
      refuse(`${target.name}: "lora_ga" takes 2 r of the ${few} singular directions of the gradient, and r is ${r}`);
    }
  }
}

interface StartContext {
  readonly base: AdaptableModel;
  readonly targets: readonly AdapterTarget[];
  readonly config: LoraConfig;
  readonly rows: readonly (readonly number[])[];
  readonly key: Key;
  /** Rank, α and s of a module. */
  of(module: string): { readonly r: number; readonly alpha: number; readonly s: number };
}

/** The names of the factors among the tensors of a module, trained and frozen. */
export interface FactorNames {
  readonly trained: { readonly a: string; readonly b: string };
  readonly frozen: { readonly a: string; readonly b: string };
}

/** Options of a start that is not asked for: PEFT says so of two of them, and ignores all. */
export function warnOfUnused(
  config: Pick<LoraConfig, 'evaConfig' | 'cordaConfig' | 'loraGaConfig'>,
  start: unknown,
): void {
  for (const [name, own] of [
    ['evaConfig', 'eva'],
    ['cordaConfig', 'corda'],
    ['loraGaConfig', 'lora_ga'],
  ] as const) {
    if (!config[name] || start === own) continue;
    process.emitWarning(
      `${name} is given and does nothing: initLoraWeights is ${showValue(start)}, not "${own}".`,
      'PosttrainWarning',
    );
  }
}

/** What rows decide: the factors, and with EVA the ranks. @throws AdapterConfigError */
export async function startFromRows(
  { base, targets, config, rows, key, of }: StartContext,
  names: FactorNames,
): Promise<RowStart<LoraConfig> | undefined> {
  const { initLoraWeights: start, evaConfig, cordaConfig, loraGaConfig } = config;
  warnOfUnused(config, start);
  if (start !== 'eva' && !isOfRows(config)) return undefined;
  if (rows.length === 0) {
    throw new AdapterConfigError(`initLoraWeights "${start}" needs rows of token ids: createAdapter(…, { rows })`);
  }
  const coded = targets.find(({ quantization }) => quantization);
  if (coded)
    throw new AdapterConfigError(`initLoraWeights "${start}" needs a base in float; ${coded.name} is quantised`);
  if (start === 'eva') {
    const directions = await evaDirections(base, targets, rows, {
      config: { ...EVA_DEFAULTS, ...evaConfig },
      rankOf: (module) => of(module).r,
    });
    const tensors = [...directions].map(
      ([name, a]) => [name, { trained: { [names.trained.a]: toTensor(a) } }] as const,
    );
    return { config: withRanks(config, directions, of), tensors: new Map(tensors) };
  }
  const tensors = new Map<string, PreparedTarget>();
  const put = (module: string, { a, b }: { readonly a: Tensor; readonly b: Tensor }) =>
    tensors.set(module, {
      trained: { [names.trained.a]: a, [names.trained.b]: b },
      frozen: { [names.frozen.a]: a, [names.frozen.b]: b },
    });
  if (start === 'corda') {
    const { cordaMethod: method } = { ...CORDA_DEFAULTS, ...cordaConfig };
    const factors = await cordaFactors(base, targets, rows, ({ name }) => ({ ...of(name), method }));
    for (const [name, own] of factors) put(name, own);
    return { config, tensors };
  }
  const gradients = await weightGradients(base, targets, rows);
  for (const [i, target] of targets.entries()) {
    const how = { ...of(target.name), config: loraGaConfig as LoraGaConfig, key: key.child(i) };
    put(target.name, await loraGaFactors(target, gradients.get(target.name)!, how));
  }
  return { config, tensors };
}

/** The ranks that EVA gave out, by module, as PEFT writes them: one without a rank is no target. */
function withRanks(
  config: LoraConfig,
  directions: ReadonlyMap<string, { readonly rows: number }>,
  of: StartContext['of'],
): LoraConfig {
  const { r: rank, loraAlpha, evaConfig } = config;
  const [rankPattern, alphaPattern]: Record<string, number>[] = [{}, {}];
  for (const [name, { rows }] of directions) {
    const { r, alpha } = of(name);
    const own = evaConfig!.adjustScalingFactors && rows !== r ? (alpha * rows) / r : alpha;
    if (rows === 0) continue;
    if (rows !== rank) rankPattern![name] = rows;
    if (own !== loraAlpha) alphaPattern![name] = own;
  }
  const targetModules = [...directions].filter(([, { rows }]) => rows > 0).map(([name]) => name);
  return { ...config, targetModules, rankPattern: rankPattern!, alphaPattern: alphaPattern! };
}

/** Where A and B start as a part of the weight alone. */
export function factorsOfWeight({ initLoraWeights }: LoraConfig): typeof pissaFactors | undefined {
  if (initLoraWeights === 'pissa') return pissaFactors;
  return initLoraWeights === 'olora' ? oloraFactors : undefined;
}

/**
 * The configuration of the plain LoRA of twice the rank that a start from rows is in files, as PEFT's
 * `path_initial_model_for_weight_conversion` writes it: B A − B₀ A₀ = [B, −B₀] [A; A₀].
 */
export function plainConfig(config: LoraConfig): LoraConfig {
  const twice = (pattern: Readonly<Record<string, number>>, by: number) =>
    Object.fromEntries(Object.entries(pattern).map(([name, value]) => [name, by * value]));
  // s must stay: α / r of twice the rank, or α / √r.
  const ofAlpha = config.useRslora ? Math.SQRT2 : 2;
  return {
    ...config,
    initLoraWeights: true,
    r: 2 * config.r,
    loraAlpha: ofAlpha * config.loraAlpha,
    rankPattern: twice(config.rankPattern, 2),
    alphaPattern: twice(config.alphaPattern, ofAlpha),
  };
}
