/** Satori (arXiv 2502.02508) in small: chains of action and thought, restart and explore, and what its bonus does. */
import { createRandom } from '@posttrain/interfaces/random';
import { functionVerifier } from '@posttrain/interfaces/verifiers';
import { type CausalLM, LocalGenerator, ValueModel } from '@posttrain/lm';
import { policyObjectives, type RowSource, restartBuffer, satoriReward, valueModelCritic } from '@posttrain/rl';
import { quiet, smallModel } from '../reward-models/small.js';
import { meanOf, REASONING, reinforced, type Task, tuned } from './world.js';

/** How long a policy learns. */
export interface SatoriSizes {
  /** Updates of PPO, two of each batch. */
  readonly steps: number;
  /** Completions of each prompt that an arm is measured by. */
  readonly samples: number;
}
export const SATORI_SIZES: SatoriSizes = { steps: 30, samples: 12 };

const RING = [...'abcdefgh'];
const CONTINUE = '<|continue|>';
const REFLECT = '<|reflect|>';
const EXPLORE = '<|explore|>';
const LONGEST = 20;

/** The letter that follows another in the steps of a prompt. */
const nextOf = ({ prompt }: Task, letter: string) => RING[(RING.indexOf(letter) + Number(prompt[1])) % 8]!;

/**
 * A trajectory as format tuning shows it: an action before every letter. A third of the letters are wrong; half of these are thought over and put right, some
 * make it begin anew, and the others are gone on from. The last letter is the answer.
 */
function trajectory(task: Task, random: ReturnType<typeof createRandom>): string {
  let [text, last, count] = ['', task.prompt[0]!, 0];
  while (count < task.steps.length && text.length < 150) {
    const right = nextOf(task, last);
    const isWrong = random.float() < 0.33;
    const letter = isWrong ? RING[(RING.indexOf(right) + random.integer(1, 7)) % 8]! : right;
    text += CONTINUE + letter;
    [last, count] = [letter, count + 1];
    const u = random.float();
    if (isWrong && u < 0.5) [text, last] = [text + REFLECT + right, right];
    else if (isWrong && u < 0.6) [text, last, count] = [text + EXPLORE + task.steps[0], task.steps[0]!, 1];
  }
  return text;
}

const isRight = functionVerifier('right', ({ completion, row }) =>
  Number(/[a-h]$/.test(completion) && completion.at(-1) === (row as unknown as Task).steps.at(-1)),
);

/** A model that knows the actions, and not much of the task. */
async function formatTuned(seed: number): Promise<CausalLM> {
  const model = await smallModel(seed, '12', { words: [CONTINUE, REFLECT, EXPLORE] });
  const random = createRandom(seed, 'trajectories');
  const rows = Array.from({ length: 960 }, () => {
    const task = random.pick(REASONING);
    return { prompt: task.prompt, completion: trajectory(task, random) };
  });
  return tuned(model, rows, seed, { epochs: 3, learningRate: 5e-3 });
}

/**
 * How often the answer is right from the start, behind a planted error, behind one and `<|reflect|>` (where restarts begin), and behind two right letters; and
 * how often it is thought over.
 */
async function measured(model: CausalLM, seed: number, samples: number) {
  const random = createRandom(seed, 'planted');
  const from = async (startOf: (task: Task) => string, at: number) => {
    const found = await new LocalGenerator(model).generate(
      REASONING.map((task, i) => ({
        ...{ prompt: task.prompt + startOf(task), n: samples, maxTokens: LONGEST, temperature: 1 },
        seed: 100_000 * seed + 1000 * at + 40 * i,
      })),
    );
    const asked = found.flatMap((all, i) =>
      all.map(({ text }) => ({
        prompt: '',
        completion: text,
        row: REASONING[i] as unknown as Record<string, unknown>,
      })),
    );
    const verdicts = await isRight.verify(asked);
    return { right: meanOf(verdicts.map(({ score }) => score!)), texts: asked.map(({ completion }) => completion) };
  };
  const good = ({ steps }: Task) =>
    steps
      .slice(0, 2)
      .map((letter) => CONTINUE + letter)
      .join('');
  const bad = ({ steps }: Task) => {
    const wrong = RING[(RING.indexOf(steps[1]!) + random.integer(1, 7)) % 8]!;
    return `${CONTINUE}${steps[0]}${CONTINUE}${wrong}`;
  };
  const [start, behindGood, behindBad] = [await from(() => '', 0), await from(good, 1), await from(bad, 2)];
  const told = await from((task) => bad(task) + REFLECT, 3);
  return {
    right: start.right,
    'right behind an error': behindBad.right,
    'right behind an error, told to reflect': told.right,
    'right behind right steps': behindGood.right,
    'thought over': meanOf(start.texts.map((text) => Number(text.includes(REFLECT)))),
    'thought over behind an error': meanOf(behindBad.texts.map((text) => Number(text.startsWith(REFLECT)))),
  };
}

/** Format tuning, and RL behind it with and without restarts and their bonus. */
export async function satoriArms(seed: number, { steps, samples }: SatoriSizes = SATORI_SIZES) {
  const policy = await formatTuned(seed);
  const idOf = (text: string) => policy.tokenizer.encode(text)[0]!;
  const learn = async (given: { probability?: number; bonus?: number; coin?: boolean }) => {
    const { probability = 0, bonus = 0, coin = false } = given;
    const random = createRandom(seed, 'coin');
    const rows: RowSource<Task> = restartBuffer(REASONING, {
      ...{ stepTokens: RING.map(idOf), append: [idOf(REFLECT)], probability, seed, capacity: 128 },
      // What is right is paid 0 or more, what is wrong -1 or less, with any bonus.
      isRight: ({ rewards }) => rewards!.satori! >= 0,
    });
    const critic = await valueModelCritic(await ValueModel.fromCausalLM(policy), { learningRate: 5e-3 });
    const { model } = await reinforced({
      ...{ model: policy, rows, steps, seed, maxCompletionLength: LONGEST, iterationsPerBatch: 2, ...quietly },
      objective: policyObjectives.ppo({ critic, beta: 0.02 }),
      rewards: { satori: coin ? () => Math.floor(2 * random.float()) - 1 : satoriReward({ outcome: isRight, bonus }) },
    });
    return measured(model, seed, samples);
  };
  return {
    'format tuning': await measured(policy, seed, samples),
    'RL by a coin': await learn({ coin: true }),
    RL: await learn({}),
    'RL with restarts': await learn({ probability: 0.5 }),
    'RL with restarts and their bonus': await learn({ probability: 0.5, bonus: 0.5 }),
  };
}
const quietly = { onWarning: quiet.onWarning };
