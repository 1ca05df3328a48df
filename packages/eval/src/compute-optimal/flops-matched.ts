import { custom, options as declare, type Given, listOf, number } from '@posttrain/interfaces';

const isPoint = (value: unknown): boolean => {
  const { compute, accuracy } = (value ?? {}) as Partial<SearchPoint>;
  return Number.isFinite(compute) && compute! > 0 && Number.isFinite(accuracy);
};

/** What the small model reaches with search. */
export interface SearchPoint {
  /** Inference compute, in multiples of one greedy answer. */
  readonly compute: number;
  readonly accuracy: number;
}

const matchedOptions = declare('flopsMatched', {
  /** M, the larger model's parameters over the smaller one's. */
  scale: number({ above: 1 }),
  /** R = D_inference / D_pretraining: how many tokens are generated over the model's life for each that the larger one was trained on. */
  ratios: listOf(number({ above: 0 }), {}),
  /** s: tokens that the smaller model was trained on, for each of the larger one's. Default 1: the same, as in the paper. */
  tokenShare: number({ default: 1, above: 0 }),
  /** The larger model's accuracy, greedy. */
  larger: number({ min: 0, max: 1 }),
  /** Accuracy of the smaller model at so much inference compute, of one strategy or of the compute-optimal policy. */
  smaller: listOf(custom<SearchPoint>()('{ compute, accuracy }', isPoint, {}), {}),
});
/** Options of `flopsMatched`. */
export type FlopsMatchedOptions = Given<typeof matchedOptions>;

/** The comparison at one ratio. */
export interface FlopsMatchedPoint {
  readonly ratio: number;
  /** k: how many times the inference of a greedy answer the smaller model may spend for the same FLOPs in all. */
  readonly multiplier: number;
  /** The smaller model's accuracy there, by ln(compute) between measured points; `null` where it is beyond what was measured. */
  readonly smaller: number | null;
  readonly larger: number;
  /** Smaller less larger: above 0, search with the small model is the better use of the FLOPs. */
  readonly difference: number | null;
}

/** FLOPs of pretraining, 6 N D: forward and backward passes of N parameters over D tokens (arXiv 2001.08361). */
export const pretrainingFlops = (parameters: number, tokens: number): number => 6 * parameters * tokens;

/** FLOPs of inference, 2 N D. */
export const inferenceFlops = (parameters: number, tokens: number): number => 2 * parameters * tokens;

/**
 * By how much the smaller model's inference may grow so that pretraining and inference together cost what the M times larger
 * model costs (arXiv 2408.03314 §7; there s = 1): of 6 M N D_pre + 2 M N D_inf = 6 N s D_pre + 2 N D_inf k
 *
 *   k = M + 3 (M − s) / R,  R = D_inf / D_pre
 *
 * At most 0 where a smaller model has had so many more tokens that its training alone costs as much.
 */
export const matchedInference = (scale: number, ratio: number, tokenShare = 1): number =>
  scale + (3 * (scale - tokenShare)) / ratio;

/**
 * A larger model against search with a smaller one, at the same FLOPs (arXiv 2408.03314 §7): one point a ratio of inference to pretraining.
 * Search is paid for at every question and parameters once, so the answer turns on R; nothing is said of compute beyond what
 * was measured.
 *
 * @throws OptionError
 */
export function flopsMatched(options: FlopsMatchedOptions): FlopsMatchedPoint[] {
  const { scale, ratios, tokenShare, larger, smaller } = matchedOptions.read(options);
  const points = [...smaller].sort((a, b) => a.compute - b.compute);
  return ratios.map((ratio) => {
    const multiplier = matchedInference(scale, ratio, tokenShare);
    const reached = accuracyAt(points, multiplier);
    return { ratio, multiplier, smaller: reached, larger, difference: reached === null ? null : reached - larger };
  });
}

function accuracyAt(points: readonly SearchPoint[], compute: number): number | null {
  const after = points.findIndex((point) => point.compute >= compute);
  if (after < 0) return null;
  const b = points[after]!;
  if (b.compute === compute) return b.accuracy;
  const a = points[after - 1];
  if (!a) return null;
  const share = Math.log(compute / a.compute) / Math.log(b.compute / a.compute);
  return a.accuracy + share * (b.accuracy - a.accuracy);
}
