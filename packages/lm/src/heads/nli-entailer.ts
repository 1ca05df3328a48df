import { custom, type Entailer, type Entailment, type Given, options, PosttrainError } from '@posttrain/interfaces';
import type { Adapter } from '../model/adapter.js';
import { softmaxAt } from './reward-verifier.js';
import type { SequenceClassifier } from './sequence-classifier.js';

/** What a classifier calls the three classes. Of two labels, the one that is no entailment is `neutral`. */
export interface EntailmentLabels {
  readonly entailment: string;
  readonly neutral?: string;
  readonly contradiction?: string;
}

const CLASSES = ['entailment', 'neutral', 'contradiction'] as const;

/** The names that models of the hub have for them (`ENTAILMENT`, `not_entailment`, `contradictory`, …). */
const NAMES = {
  entailment: /^entail/i,
  neutral: /^(neutral|no[tn][ _-]?entail)/i,
  contradiction: /^contradict/i,
} as const;

const isFunction = (value: unknown): boolean => typeof value === 'function';
const nliEntailerOptions = options('nliEntailer', {
  /**
   * What the model calls the classes, where its labels do not say so. Default: labels that begin with the names of
   * the classes.
   */
  labels: custom<EntailmentLabels>()(
    '{ entailment, neutral, contradiction }, names of labels',
    (value) => typeof (value as Partial<EntailmentLabels> | null)?.entailment === 'string',
    { optional: true },
  ),
  /** Both texts as the one that the model was trained on. Default: the tokens of the one, then those of the other. */
  text: custom<(premise: string, hypothesis: string) => string>()('a function of two texts', isFunction, {
    optional: true,
  }),
  /** Asked before every call. Default: none. */
  adapter: custom<() => Adapter>()('a function that gives an adapter', isFunction, { optional: true }),
});
/** Options of `nliEntailer`. */
export type NliEntailerOptions = Given<typeof nliEntailerOptions>;

/**
 * A classifier of natural language inference as an `Entailer`: softmax over the logits of its labels for the three
 * classes (MNLI, arXiv 1704.05426); a class without a label has probability 0. Premise and hypothesis are tokenized
 * each with their special tokens and joined, as transformers does for pairs of texts with tokenizers of decoders.
 *
 * @throws OptionError; PosttrainError `LABEL` where the labels do not tell the classes, and for one that there is not
 */
export function nliEntailer(model: SequenceClassifier, given: NliEntailerOptions = {}): Entailer {
  const { labels, text, adapter } = nliEntailerOptions.read(given);
  const places = labels ? givenPlaces(model, labels) : namedPlaces(model);
  const asked = CLASSES.filter((name) => places[name] !== undefined);
  const encode = (one: string) => model.tokenizer.encode(one);
  return {
    name: model.name,
    async entail(requests) {
      const sequences = requests.map(({ premise, hypothesis }) =>
        text ? encode(text(premise, hypothesis)) : [...encode(premise), ...encode(hypothesis)],
      );
      const logits = await model.logits(sequences, adapter ? { adapter: adapter() } : {});
      return logits.map((row): Entailment => {
        const chosen = asked.map((name) => row[places[name]!]!);
        const probability = (name: (typeof CLASSES)[number]) =>
          asked.includes(name) ? softmaxAt(chosen, asked.indexOf(name)) : 0;
        return {
          entailment: probability('entailment'),
          neutral: probability('neutral'),
          contradiction: probability('contradiction'),
        };
      });
    },
  };
}

type Places = Readonly<Partial<Record<(typeof CLASSES)[number], number>>>;

function namedPlaces({ labels, name }: SequenceClassifier): Places {
  const places = Object.fromEntries(
    CLASSES.map((which) => [which, labels.findIndex((label) => NAMES[which].test(label))] as const).filter(
      ([, place]) => place >= 0,
    ),
  ) as Places;
  if (places.entailment !== undefined && hasOther(places)) return places;
  const advice = 'say which is which: labels: { entailment, neutral, contradiction }';
  throw new PosttrainError('LABEL', `nliEntailer: ${name} has the labels ${labels.join(', ')}; ${advice}`);
}

function givenPlaces({ labels, name }: SequenceClassifier, named: EntailmentLabels): Places {
  const places = Object.fromEntries(
    CLASSES.filter((which) => named[which] !== undefined).map((which) => {
      const place = labels.indexOf(named[which]!);
      if (place >= 0) return [which, place] as const;
      const problem = `${name} has no label "${named[which]}"; there are ${labels.join(', ')}`;
      throw new PosttrainError('LABEL', `nliEntailer: ${problem}`);
    }),
  ) as Places;
  if (hasOther(places)) return places;
  throw new PosttrainError('LABEL', 'nliEntailer: labels must name neutral or contradiction beside entailment');
}

const hasOther = ({ neutral, contradiction }: Places): boolean => neutral !== undefined || contradiction !== undefined;
