/** What people click on, with and without what the place does to it. */
import { createRandom } from '@posttrain/interfaces/random';
import { SequenceClassifier } from '@posttrain/lm';
import {
  estimatePropensities,
  type ImplicitFeedbackRow,
  rewardModelLosses,
  type SwapIntervention,
  trainRewardModel,
} from '@posttrain/training';
import { quiet, smallModel } from './small.js';

/** How much there is of everything; the test has less of it. */
export interface ClickSizes {
  /** Lists that were shown as the old ranker has them. */
  readonly sessions: number;
  /** Lists in which a coin said whether two places are swapped. */
  readonly swaps: number;
}
export const CLICK_SIZES: ClickSizes = { sessions: 600, swaps: 900 };

/** How likely each place is looked at. */
const LOOKS = [1, 0.6, 0.35, 0.2];
const ITEMS = [...'abcdefgh'];

/** Arms by name: how often the model is right about which of two items people like more. */
export async function clickArms(seed: number, { sessions, swaps }: ClickSizes = CLICK_SIZES) {
  const random = createRandom(seed, 'clicks');
  // How likely somebody who looks at an item clicks, by item; the old ranker has them the wrong way round, more or less.
  const liked = random.shuffled(ITEMS.map((_, i) => 0.1 + 0.1 * i));
  const list = () => {
    const worth = ITEMS.map((_, i) => -liked[i]! + random.float());
    const order = ITEMS.map((_, i) => i).sort((i, j) => worth[j]! - worth[i]!);
    return order.slice(0, LOOKS.length);
  };
  const isClicked = (item: number, place: number) => random.float() < LOOKS[place]! * liked[item]!;

  const log: SwapIntervention[] = Array.from({ length: swaps }, () => {
    const shown = list();
    const k = random.integer(1, LOOKS.length - 1);
    if (random.float() < 0.5) [shown[0], shown[k]] = [shown[k]!, shown[0]!];
    return [0, k].map((place) => ({
      ...{ swappedWith: k + 1, position: place + 1, clicked: isClicked(shown[place]!, place) },
    }));
  }).flat();
  const estimated = estimatePropensities(log);
  const shown = Array.from({ length: sessions }, () =>
    list().map((item, place) => ({ item, place, clicked: isClicked(item, place) })),
  ).flat();

  const arm = async (propensityOf: (place: number) => number) => {
    const rows = shown.map(({ item, place, clicked }): ImplicitFeedbackRow => {
      return { prompt: 'x:', completion: ITEMS[item]!, clicked, propensity: propensityOf(place) };
    });
    const { trainer } = await trainRewardModel({
      ...{ ...quiet, seed, rows, batchSize: 240, epochs: 10, learningRate: 5e-3 },
      loss: rewardModelLosses.implicitFeedback(),
      model: await SequenceClassifier.fromCausalLM(await smallModel(seed), { labels: 1 }),
    });
    const verifier = (trainer.model as SequenceClassifier).verifier();
    const scores = await verifier.verify(ITEMS.map((completion) => ({ prompt: 'x:', completion })));
    const pairs = ITEMS.flatMap((_, i) => ITEMS.flatMap((__, j) => (liked[i]! > liked[j]! ? [[i, j] as const] : [])));
    return { ordered: pairs.filter(([i, j]) => scores[i]!.score! > scores[j]!.score!).length / pairs.length };
  };
  return {
    'clicks as they are': await arm(() => 1),
    'known propensities': await arm((place) => LOOKS[place]!),
    'estimated propensities': await arm((place) => Math.min(1, estimated.get(place + 1)!)),
  };
}
