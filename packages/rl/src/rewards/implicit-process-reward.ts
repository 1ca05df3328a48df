import {
  custom,
  type Given,
  type HasSettings,
  number,
  oneOf,
  options,
  type Scorer,
  text,
  type Verifier,
} from '@posttrain/interfaces';

const scorerOption = custom<Scorer>()(
  'a scorer ({ name, score(requests) })',
  (value) => typeof (value as Partial<Scorer> | null)?.score === 'function',
  { settings: ({ name }) => name },
);
const implicitProcessRewardOptions = options('implicitProcessReward', {
  /** log π_φ: the model that was trained, with `preferenceLosses.implicit_prm` or DPO, KTO and others of their kind. */
  policy: scorerOption,
  /** log π_ref: the model that it began as. */
  reference: scorerOption,
  /** β of the training. Default 0.05. */
  beta: number({ default: 0.05, above: 0 }),
  /** What separates steps in a completion; parts without text are no steps. Default `\n\n`. */
  stepDelimiter: text({ default: '\n\n' }),
  /** Which step a delimiter is paid in: the one behind it (`next`), or the one before it (`before`), as in the authors' evaluation. Default `next`. */
  delimiterIn: oneOf(['next', 'before'], { default: 'next' }),
});
/** Options of `implicitProcessReward`. */
export type ImplicitProcessRewardOptions = Given<typeof implicitProcessRewardOptions>;

/**
 * Process rewards without labels of steps (implicit PRM, arXiv 2412.01981, proposition 3.1; PRIME, 2502.01456): a model whose outcome reward is
 * r(y) = β log π_φ(y|x) / π_ref(y|x) has learnt Q of every prefix, q_t = β log π_φ(y_≤t|x) / π_ref(y_≤t|x). A step is paid q_t - q_{t-1}, in
 * `stepScores`; they add up to `score`, the log-odds of a right answer. Of any two scorers of one tokenizer.
 *
 * @throws OptionError; what the scorers throw
 */
export function implicitProcessReward(given: ImplicitProcessRewardOptions): Verifier & HasSettings {
  const { policy, reference, beta, stepDelimiter, delimiterIn } = implicitProcessRewardOptions.read(given);
  return {
    name: 'implicitProcessReward',
    settings: implicitProcessRewardOptions.settings(given),
    async verify(requests) {
      const prefixes = requests.map(({ completion }) =>
        prefixesOf(completion, stepDelimiter, delimiterIn === 'before'),
      );
      const asked = requests.flatMap(({ prompt }, i) => prefixes[i]!.map((continuation) => ({ prompt, continuation })));
      const [ours, theirs] = await Promise.all([policy.score(asked), reference.score(asked)]);
      let next = 0;
      return prefixes.map((own) => {
        const values = own.map(() => {
          const value = beta * (ours[next]!.logProb - theirs[next]!.logProb);
          next++;
          return value;
        });
        const stepScores = values.map((value, t) => value - (t === 0 ? 0 : values[t - 1]!));
        return { score: values.at(-1) ?? null, stepScores };
      });
    },
  };
}

/** The text up to the end of each step, with or without the delimiter behind it; the last one has all of it. */
function prefixesOf(completion: string, delimiter: string, withDelimiter: boolean): string[] {
  let start = 0;
  const steps = completion.split(delimiter).flatMap((part) => {
    const own = { start, end: start + part.length };
    start = own.end + delimiter.length;
    return part.trim() === '' ? [] : [own];
  });
  return steps.map(({ end }, i) => {
    const next = steps[i + 1];
    return next === undefined ? completion : completion.slice(0, withDelimiter ? next.start : end);
  });
}
