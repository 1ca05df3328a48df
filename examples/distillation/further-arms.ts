/** Two further parts of the study: rationales beside labels, and which modes of a teacher a student takes. Each a function of its seed. */
import { createRandom } from '@posttrain/interfaces/random';
import { type CausalLM, LocalGenerator } from '@posttrain/lm';
import { policyObjectives, trainPolicy } from '@posttrain/rl';
import { distill, distillStepByStep, sft } from '@posttrain/training';
import { lossOn, type Settings, taught } from './arms.js';
import { language, letterModel, type Row } from './language.js';

const quiet = { onWarning: () => {} };
const LABEL = 'f';
const RATIONALE = 'g';

/** Sums modulo 5 of letters, a being 0: the question, its running sums, and the last of them, which is the label. */
function questions(seed: number) {
  const random = createRandom(seed, 'questions');
  const letters = [...'abcde'];
  const all = letters.flatMap((a) => letters.flatMap((b) => letters.flatMap((c) => letters.map((d) => [a, b, c, d]))));
  return random.shuffled(all).map((of) => {
    const sums = of.map((_, i) => of.slice(0, i + 1).reduce((sum, one) => sum + letters.indexOf(one), 0) % 5);
    return { prompt: of.join(''), rationale: sums.map((sum) => letters[sum]!).join('') };
  });
}

/** Distilling step-by-step: -log p of the label of questions that are held out. The rationales are a larger model's. */
export async function stepByStepArms(seed: number, { steps }: Settings): Promise<Record<string, number>> {
  const all = questions(seed);
  const [known, asked, held] = [all.slice(0, 400), all.slice(400, 500), all.slice(500)];
  const rows = known.map(({ prompt, rationale }) => ({ prompt, completion: rationale }));
  const shared = { batchSize: 16, seed, schedule: 'cosine', ...quiet } as const;
  const large = await letterModel('large', 64, 2, seed);
  const teacher = (await sft({ ...shared, model: large, rows, steps: 4 * steps, learningRate: 5e-3 })).trainer.model;
  const requests = asked.map(({ prompt }) => ({ prompt, maxTokens: 4, temperature: 0 }));
  const said = (await new LocalGenerator(teacher).generate(requests)).map(([one]) => one!.text);
  // What the teacher leaves unsaid is no row.
  const taken = asked.flatMap(({ prompt }, i) =>
    said[i]!.length === 4 ? { prompt, rationale: said[i]!, label: said[i]!.at(-1)! } : [],
  );
  const others = createRandom(seed, 'others').shuffled(taken.map(({ rationale }) => rationale));
  const test = held.map(({ prompt, rationale }) => ({
    ...{ prompt: LABEL + prompt, completion: rationale.at(-1)!, domain: '' },
  }));
  const by = async (given: typeof taken, rationaleWeight: number) => {
    const { trainer } = await distillStepByStep({
      ...{ ...shared, model: await letterModel('small', 32, 2, 100 + seed), rows: given, rationaleWeight },
      ...{ labelPrefix: LABEL, rationalePrefix: RATIONALE, steps: 2 * steps, learningRate: 5e-3 },
    });
    return lossOn(trainer.model, test);
  };
  return {
    'labels only (λ 0)': await by(taken, 0),
    'step-by-step (λ 1)': await by(taken, 1),
    'control: rationales of other questions': await by(
      taken.map((row, i) => ({ ...row, rationale: others[i]! })),
      1,
    ),
  };
}

/** What a student says, as its teacher sees it, and what the teacher says, as the student does. */
interface Modes {
  readonly precision: Record<string, number>;
  readonly coverage: Record<string, number>;
}

const found = new Map<string, Promise<Modes>>();

/**
 * A teacher that knows two languages whose texts begin alike, and a student that has no room for both: by the forward KL, on what the teacher
 * samples, and by MiniLLM's reverse KL, on what the student samples, without its loss of plain texts and with it.
 */
function modes(seed: number, settings: Settings): Promise<Modes> {
  const key = JSON.stringify([seed, settings]);
  const known = found.get(key) ?? modesOf(seed, settings);
  found.set(key, known);
  return known;
}

async function modesOf(seed: number, { teacherSteps, steps, heldOut }: Settings): Promise<Modes> {
  const worlds = [language('a', 10 + seed), language('b', 20 + seed)] as const;
  // Without the letter that says which language it is.
  const alike = {
    domain: 'both',
    rows: (count: number, draw: number): Row[] =>
      worlds
        .flatMap((world) => world.rows(Math.ceil(count / 2), draw))
        .map((row) => ({ ...row, prompt: row.prompt.slice(1) })),
  };
  const teacher = await taught(await letterModel('two languages', 64, 2, seed), [alike], 2 * teacherSteps, seed);
  const begins = alike.rows(96, 7000 + seed);
  const begun = await sft({
    ...{ model: await letterModel('narrow', 12, 1, 100 + seed), rows: begins, seed, ...quiet },
    ...{ steps: 40, batchSize: 16, learningRate: 0.01 },
  });
  const start = begun.trainer.model;
  const prompts = alike.rows(400, 8000 + seed);
  const forward = await distill({
    ...{ model: start, teacher, rows: prompts, lmbda: 0, seqKd: true, beta: 0, temperature: 1, seed, ...quiet },
    ...{ steps: 2 * steps, batchSize: 24, maxCompletionLength: 14, learningRate: 0.005 },
  });
  const reverse = (more: object = {}) =>
    trainPolicy({
      ...{ model: start, rows: prompts.map(({ prompt }) => ({ prompt })), seed, ...quiet },
      ...{ rewards: { letters: (text: string) => text.length } },
      ...{ objective: policyObjectives.minillm({ teacher, ...more }) },
      ...{
        steps: 2 * steps,
        promptsPerStep: 24,
        completionsPerPrompt: 1,
        maxCompletionLength: 14,
        learningRate: 0.005,
      },
    });
  // L_PT, of the texts that the student has begun with.
  const texts = begins.map(({ prompt, completion }) => ({ text: prompt + completion }));
  const pretraining = { rows: texts, batchSize: 24, seed };
  const held = alike.rows(heldOut, 9000 + seed);
  const samplesOf = async (model: CausalLM): Promise<Row[]> => {
    const requests = held.map(({ prompt }, i) => ({ prompt, maxTokens: 14, temperature: 1, seed: 1000 * seed + i }));
    const texts = (await new LocalGenerator(model).generate(requests)).map(([one]) => one!.text);
    return held.flatMap((row, i) => (texts[i] === '' ? [] : { ...row, completion: texts[i]! }));
  };
  const students = {
    ...{ start, 'forward KL': forward.trainer.model },
    'MiniLLM (reverse KL)': (await reverse()).trainer.model,
    'MiniLLM with L_PT': (await reverse({ pretraining })).trainer.model,
  };
  const [precision, coverage]: Record<string, number>[] = [{}, {}];
  const heard = await samplesOf(teacher);
  for (const [name, model] of Object.entries(students)) {
    precision![name] = await lossOn(teacher, await samplesOf(model));
    coverage![name] = await lossOn(model, heard);
  }
  return { precision: precision!, coverage: coverage! };
}

/** -log p of the teacher of a letter that a student samples: low where it says what the teacher could have said. */
export const precisionArms = async (seed: number, settings: Settings): Promise<Record<string, number>> =>
  (await modes(seed, settings)).precision;

/** -log p of a student of a letter that the teacher samples: low where it knows all that the teacher says. */
export const coverageArms = async (seed: number, settings: Settings): Promise<Record<string, number>> =>
  (await modes(seed, settings)).coverage;
