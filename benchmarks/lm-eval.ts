/**
 * Log-likelihood tasks with shared prefixes beside lm-evaluation-harness with transformers: the same task files, model folder and rows, each side in a process of its own, in turns, one core each.
 * Endings are HellaSwag-like (four of many words behind a context of one's own), letters MMLU-like (five examples, then one of four letters). Rows are made here. Loading and imports
 * are not timed, nor is a first run of a few rows; accuracies and log-likelihoods must agree.
 *
 * usage: npx tsx benchmarks/lm-eval.ts --python /path/to/python3 [--model 10m] [--rows 200] [--repetitions 3] [--only endings|letters] [--batch 16]
 * (its packages: lm_eval and goldens/requirements.txt)
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { evaluate, type LmEvalTaskConfig, lmEvalTask, metricOf, readLmEvalConfig } from '@posttrain/eval';
import { createRandom } from '@posttrain/interfaces/random';
import { CausalLM, LocalScorer, parseModelConfig, trainTokenizer } from '@posttrain/lm';
import { MODEL_CONFIGS, type ModelName } from './cases.js';
import { renderMarkdown } from './render.js';

const { values: flags } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    model: { type: 'string', default: '10m' },
    rows: { type: 'string', default: '200' },
    repetitions: { type: 'string', default: '3' },
    batch: { type: 'string', default: '16' },
    only: { type: 'string' },
    own: { type: 'string' },
    folder: { type: 'string' },
  },
});

interface Measured {
  readonly wall: number;
  readonly processor: number;
  readonly accuracy: number;
  /** Of each row, of each choice. */
  readonly logProbs: readonly (readonly number[])[];
}

const TASKS = ['endings', 'letters'] as const;
const YAML: Readonly<Record<(typeof TASKS)[number], string>> = {
  endings: 'doc_to_text: "{{ctx}}"\ndoc_to_choice: "{{endings}}"\nnum_fewshot: 0\n',
  letters:
    'doc_to_text: "{{question}}\\nA. {{choices[0]}}\\nB. {{choices[1]}}\\nC. {{choices[2]}}\\nD. {{choices[3]}}\\nAnswer:"\ndoc_to_choice: ["A", "B", "C", "D"]\nnum_fewshot: 5\nfewshot_split: train\nfewshot_config:\n  sampler: first_n\n',
};

async function prepare(folder: string): Promise<void> {
  const random = createRandom(1);
  const lexicon = Array.from({ length: 3000 }, () =>
    Array.from({ length: random.integer(2, 8) }, () => 'abcdefghijklmnoprstuvw'[random.integer(0, 21)]).join(''),
  );
  const words = (least: number, most: number) =>
    Array.from({ length: random.integer(least, most) }, () => random.pick(lexicon)).join(' ');
  const rowOf = () => ({
    ...{ ctx: `${words(25, 60)}.`, endings: Array.from({ length: 4 }, () => `${words(8, 25)}.`) },
    ...{ question: `${words(10, 40)}?`, choices: Array.from({ length: 4 }, () => words(1, 6)) },
    label: random.integer(0, 3),
  });
  const write = (name: string, count: number) => {
    const rows = Array.from({ length: count }, rowOf);
    writeFileSync(join(folder, `${name}.jsonl`), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    return rows;
  };
  const rows = [...write('train', 5), ...write('warm', 4), ...write('test', Number(flags.rows))];
  for (const split of ['warm', 'test'])
    for (const task of TASKS)
      writeFileSync(
        join(folder, `${task}-${split}.yaml`),
        `task: ${task}-${split}\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    train: ${folder}/train.jsonl\n    test: ${folder}/${split}.jsonl\n` +
          `output_type: multiple_choice\ntest_split: test\ndoc_to_target: label\n${YAML[task]}metric_list:\n  - metric: acc\nmetadata:\n  version: 1\n`,
      );
  const config = MODEL_CONFIGS[flags.model as ModelName];
  const texts = rows.map(({ ctx, question, endings, choices }) => [ctx, question, ...endings, ...choices].join(' '));
  const tokenizer = await trainTokenizer(texts, { model: 'bpe', vocabSize: config.vocab_size });
  // Few-shot prompts are longer than the smallest model is made for.
  const parsed = parseModelConfig({ ...config, max_position_embeddings: 2048 });
  await (await CausalLM.initialize({ config: parsed, tokenizer, name: 'random' }, 0)).save(join(folder, 'model'));
}

/** Our side: one task of the folder, by one thread. */
async function own(folder: string, task: string): Promise<Measured> {
  setEngine(onnxruntimeEngine({ threads: 1 }));
  const scorer = new LocalScorer(await CausalLM.load(join(folder, 'model')));
  const read = (name: string): object[] =>
    readFileSync(join(folder, `${name}.jsonl`), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
  const run = async (split: string) => {
    const config = (await readLmEvalConfig(join(folder, `${task}-${split}.yaml`))) as LmEvalTaskConfig;
    return evaluate(lmEvalTask(config, { splits: { train: read('train'), test: read(split) } }), scorer);
  };
  await run('warm');
  const [usage, start] = [process.cpuUsage(), performance.now()];
  const result = await run('test');
  const { user, system } = process.cpuUsage(usage);
  return {
    wall: (performance.now() - start) / 1000,
    processor: (user + system) / 1e6,
    accuracy: metricOf(result, 'acc').value!,
    logProbs: result.problems.map(({ scores = [] }) => scores.map(([logProb]) => logProb)),
  };
}

function started(command: string, args: readonly string[]): Measured {
  const env = { ...process.env, OMP_NUM_THREADS: '1', MKL_NUM_THREADS: '1', TOKENIZERS_PARALLELISM: 'false' };
  const found = spawnSync('taskset', ['-c', '0', command, ...args], { encoding: 'utf8', env, maxBuffer: 2 ** 28 });
  if (found.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${found.stderr.slice(-3000)}`);
  return JSON.parse(found.stdout.trim().split('\n').at(-1)!) as Measured;
}

if (flags.own !== undefined) console.log(JSON.stringify(await own(flags.folder!, flags.own)));
else {
  const folder = mkdtempSync(join(tmpdir(), 'posttrain-lm-eval-'));
  try {
    await prepare(folder);
    const script = fileURLToPath(import.meta.url);
    const peer = fileURLToPath(new URL('lm-eval-peer.py', import.meta.url));
    const table = [];
    for (const task of TASKS.filter((name) => flags.only === undefined || name === flags.only)) {
      const pairs = Array.from({ length: Number(flags.repetitions) }, () => [
        started(process.execPath, ['--import', 'tsx', script, '--own', task, '--folder', folder]),
        started(flags.python, [peer, folder, task, flags.batch]),
      ]) as [Measured, Measured][];
      const [[ours, theirs]] = pairs as [[Measured, Measured]];
      const furthest = ours.logProbs
        .flatMap((row, i) => row.map((log, j) => Math.abs(log - theirs.logProbs[i]![j]!)))
        .reduce((most, difference) => Math.max(most, difference), 0);
      if (!(furthest < 1e-2) || ours.accuracy !== theirs.accuracy)
        throw new Error(
          `${task}: accuracies ${ours.accuracy}, ${theirs.accuracy}; log-likelihoods differ by ${furthest}`,
        );
      const ratio = (of: (one: Measured) => number) => {
        const all = pairs.map(([one, other]) => of(other) / of(one)).sort((a, b) => a - b);
        return `${all[all.length >> 1]!.toFixed(2)} (${all[0]!.toFixed(2)} to ${all.at(-1)!.toFixed(2)})`;
      };
      const least = (side: 0 | 1, of: (one: Measured) => number) =>
        Math.min(...pairs.map((pair) => of(pair[side]))).toFixed(2);
      table.push({
        task,
        'lm-eval ÷ ours, processor (lowest to highest)': ratio(({ processor }) => processor),
        'lm-eval ÷ ours, wall': ratio(({ wall }) => wall),
        'ours, s': least(0, ({ processor }) => processor),
        'lm-eval, s': least(1, ({ processor }) => processor),
        accuracy: ours.accuracy,
        'furthest log-likelihoods': furthest.toExponential(1),
      });
      console.log(JSON.stringify(table.at(-1)));
    }
    console.log(
      `\n${flags.rows} rows, model ${flags.model}, batch ${flags.batch} of lm-eval, ${cpus()[0]!.model}, load ${loadavg()[0]!.toFixed(1)}, Node.js ${process.version}\n`,
    );
    console.log(renderMarkdown([Object.keys(table[0]!), ...table.map((row) => Object.values(row).map(String))]));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
