import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Key, tensor } from '@posttrain/core-tensor';
import { isPosttrainError } from '@posttrain/interfaces';
import { createAdapter, type LoraConfig, lora } from '@posttrain/peft';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { failingAt } from '../../../testing/crash.js';
import { tinyModel } from '../../peft/src/testing/tiny-model.js';
import {
  dpSgd,
  dynamicFineTuning,
  latestCheckpoint,
  loadCheckpoint,
  type SftOptions,
  saveCheckpoint,
  sft,
} from '../src/index.js';
import { refuseOtherSettings } from '../src/run/identity.js';
import { sftOptions } from '../src/sft/sft-options.js';
import { countingRows, start } from './sft-run.js';

let folder: string;
/** Where a run of four steps has stopped after two. */
let half: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'runs-'));
  half = join(folder, 'half');
  await run({ outputFolder: half, saveSteps: 2 });
  await rm(join(half, 'checkpoint-4'), { recursive: true });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

let copy: string;
let count = 0;
beforeEach(async () => {
  copy = join(folder, `copy-${count++}`);
  await cp(half, copy, { recursive: true });
});

const adapterWith = async (config: Partial<LoraConfig>) =>
  createAdapter((await start).model, lora, { r: 4, targetModules: 'all-linear', ...config }, { seed: 7 });
const warnings: string[] = [];
const run = async (options: Partial<SftOptions> = {}) =>
  sft({
    model: (await start).model,
    adapter: await adapterWith({}),
    rows: countingRows,
    ...{ batchSize: 4, learningRate: 0.01, steps: 4, schedule: 'constant' },
    onWarning: (message) => warnings.push(message),
    ...options,
  });
const resume = (options: Partial<SftOptions> = {}) => run({ outputFolder: copy, resume: true, ...options });
const numbers = ({
  trainer,
}: {
  trainer: { parameters: Readonly<Record<string, { toArray(): Promise<number[]> }>> };
}) => Promise.all(Object.values(trainer.parameters).map((parameter) => parameter.toArray()));

describe('the identity of a run', () => {
  /** For every option that decides the result: another value, and what the error says of it. */
  const privacy = { maxGradNorm: 1, noiseMultiplier: 1 };
  const evaluated = { evaluate: () => ({ loss: 1 }), bestMetric: 'loss' };
  const changes: Readonly<Record<string, readonly [() => Promise<object> | object, RegExp]>> = {
    adapter: [async () => ({ adapter: await adapterWith({ loraAlpha: 4 }) }), /adapter.loraAlpha was 8 and is 4/],
    optimizer: [() => ({ optimizer: 'lion_32bit' }), /optimizer was adamw and is lion/],
    weightDecay: [() => ({ weightDecay: 0.1 }), /optimizer.weightDecay was 0 and is 0.1/],
    schedule: [() => ({ schedule: 'linear' }), /schedule was constant and is linear/],
    scheduleSettings: [
      () => ({ schedule: 'polynomial', scheduleSettings: { power: 2 }, allowChanged: ['schedule'] }),
      /scheduleSettings.power was not given and is 2/,
    ],
    warmupSteps: [() => ({ warmupSteps: 1 }), /warmupSteps was 0 and is 1/],
    maxGradNorm: [() => ({ maxGradNorm: 0 }), /maxGradNorm was 1 and is 0/],
    fp16: [() => ({ fp16: true }), /fp16 was false and is true/],
    lossScaling: [() => ({ lossScaling: true }), /lossScaling was not given and is true/],
    neftuneNoiseAlpha: [() => ({ neftuneNoiseAlpha: 5 }), /neftuneNoiseAlpha was 0 and is 5/],
    seed: [() => ({ seed: 1 }), /seed was 42 and is 1/],
    keepBest: [() => ({ ...evaluated, keepBest: true }), /keepBest was not given and is true/],
    bestMetric: [() => evaluated, /bestMetric was not given and is loss/],
    bestMode: [() => ({ ...evaluated, bestMode: 'max' }), /bestMode was not given and is max/],
    patience: [() => ({ ...evaluated, patience: 2 }), /patience was not given and is 2/],
    minDelta: [() => ({ ...evaluated, minDelta: 0.1 }), /minDelta was not given and is 0.1/],
    batchSize: [() => ({ batchSize: 3 }), /batchSize was 4 and is 3/],
    packing: [() => ({ packing: true, maxLength: 32 }), /packing was false and is true; .*rows was \w+ and is \w+/],
    packingStrategy: [
      () => ({ packing: true, packingStrategy: 'wrapped', allowChanged: ['packing', 'rows'] }),
      /packingStrategy was not given and is wrapped/,
    ],
    packingBuffer: [
      () => ({ rows: { name: 'none', next: () => [] }, packing: true, packingBuffer: 10 }),
      /packingBuffer was not given and is 10/,
    ],
    sampling: [
      () => ({ sampling: 'poisson', update: dpSgd({ ...privacy, expectedBatchSize: 4 }), allowChanged: ['update'] }),
      /sampling was not given and is poisson/,
    ],
    steps: [() => ({ steps: 5 }), /steps was 4 and is 5.*allowChanged: \['steps'\]/],
    learningRate: [() => ({ learningRate: 0.02 }), /learningRate was 0.01 and is 0.02/],
    completionOnlyLoss: [() => ({ completionOnlyLoss: false }), /completionOnlyLoss was true and is false/],
    assistantOnlyLoss: [() => ({ assistantOnlyLoss: true }), /assistantOnlyLoss was false and is true/],
    lastTurnOnlyLoss: [() => ({ lastTurnOnlyLoss: true }), /lastTurnOnlyLoss was not given and is true/],
    maxLength: [() => ({ maxLength: 6 }), /maxLength was not given and is 6/],
    update: [
      () => ({ update: dpSgd(privacy) }),
      /update was not given and is dp-sgd; update\.maxGradNorm was not given and is 1/,
    ],
    loss: [() => ({ loss: dynamicFineTuning }), /loss was not given and is dft/],
    truncationMode: [() => ({ truncationMode: 'keep_end' }), /truncationMode was keep_start and is keep_end/],
  };
  const decisive = Object.entries(sftOptions.shape).flatMap(([name, option]) => (option.decisive ? [name] : []));

  it('has a case for every option that is declared to decide the result', () => {
    expect(Object.keys(changes).sort()).toEqual(decisive.sort());
  });

  it.each(Object.entries(changes))('refuses another %s, naming both values', async (_, [change, message]) => {
    await expect(resume(await change())).rejects.toThrow(message);
    expect(await readdir(copy)).toEqual(['checkpoint-2', 'metrics.jsonl']);
  });

  it.each<[string, () => Promise<object> | object, RegExp]>([
    [
      'rows',
      () => ({ rows: countingRows.toReversed() }),
      /rows was \w+ and is \w+ \(of 12 rows; the first that differs is row 0\)\./,
    ],
    [
      'single row',
      () => ({ rows: countingRows.with(7, countingRows[0]!) }),
      /rows was \w+ and is \w+ \(of 12 rows; the first that differs is row 7\)\..*allowChanged: \['rows'\]/,
    ],
    [
      'rows at the end',
      () => ({ rows: [...countingRows, { input_ids: [1, 2, 3] }] }),
      /\(there were 12 rows and are 13; the first that differs is row 12\)/,
    ],
    [
      'fewer rows',
      () => ({ rows: countingRows.slice(0, 10) }),
      /\(there were 12 rows and are 10; the first that differs is row 10\)/,
    ],
    ['no adapter', () => ({ adapter: undefined }), /adapter.peftType was LORA and is not given/],
    ['weights', async () => ({ model: await tinyModel('llama', 1) }), /model.weights was \w+ and is \w+/],
    [
      'beta of the optimizer',
      () => ({ optimizer: { name: 'adamw_torch', beta1: 0.8 } }),
      /optimizer.beta1 was 0.9 and is 0.8/,
    ],
    [
      'dropout',
      async () => ({ adapter: await adapterWith({ loraDropout: 0.5 }) }),
      /adapter.loraDropout was 0 and is 0.5/,
    ],
  ])('refuses other %s', async (_, change, message) => {
    await expect(resume(await change())).rejects.toThrow(message);
  });

  it('takes settings that an earlier version did not have for ones that were not given', () => {
    const saved = { seed: 42 };
    const compare = (current: object) =>
      refuseOtherSettings({ folder: 'run/checkpoint-1', saved, current: { ...saved, ...current } });
    expect(() => compare({ patience: 'not given' })).not.toThrow();
    expect(() => compare({ patience: 2 })).toThrow(/patience was not given and is 2/);
  });

  it('lets memory and reports differ, and comes to the same', async () => {
    const straight = await numbers(await run());
    const resumed = await resume({
      maxTokensPerPass: 8192,
      saveSteps: 1,
      saveTotalLimit: 9,
      loggingSteps: 2,
      onLog: () => {},
    });
    expect(await numbers(resumed)).toEqual(straight);
    // Dropout draws other elements for other passes.
    const adapter = await adapterWith({ loraDropout: 0.5 });
    const drawn = join(folder, 'drawn');
    await run({ adapter, outputFolder: drawn });
    await expect(run({ adapter, outputFolder: drawn, resume: true, maxTokensPerPass: 16 })).rejects.toThrow(
      /maxTokensPerPass was 4096 and is 16/,
    );
  });

  it('goes on in its own folder, by whatever link it is named', async () => {
    await symlink(copy, `${copy}-link`);
    const { history } = await run({ outputFolder: copy, resume: join(`${copy}-link`, 'checkpoint-2') });
    expect(history.map(({ step }) => step)).toEqual([0, 1, 2, 3]);
  });

  it('extends a finished run on purpose, to what a longer one had come to', async () => {
    await resume();
    const extended = await resume({ steps: 7, allowChanged: ['steps'] });
    expect(extended.history.map(({ step }) => step)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(await numbers(extended)).toEqual(await numbers(await run({ steps: 7 })));
    await expect(resume({ allowChanged: ['steps'] })).rejects.toThrow(/has 7 steps already, more than the 4/);
    await expect(resume({ steps: 8, allowChanged: ['step'] })).rejects.toThrow(
      /no setting "step". Did you mean "steps"/,
    );
  });

  it('goes on from a checkpoint of an earlier version, with what can be compared', async () => {
    const straight = await numbers(await run());
    const path = join(copy, 'checkpoint-2/trainer_state.json');
    const { posttrain, posttrain_format: _, ...state } = JSON.parse(await readFile(path, 'utf8'));
    const { settings, state: totals, window } = posttrain;
    const { steps, learningRate, schedule, optimizer } = settings;
    const earlier = {
      identity: { data: '0123456789abcdef', adapter: '{}' },
      statistics: { ...totals, window },
      settings: { steps, learningRate, schedule, optimizer, scheduleSettings: '{}', weightDecay: 'default' },
    };
    await writeFile(path, JSON.stringify({ ...state, posttrain: earlier }));
    await rm(join(copy, 'checkpoint-2/checksums.json'));
    await expect(resume({ learningRate: 0.5 })).rejects.toThrow(/learningRate was 0.01 and is 0.5/);
    warnings.length = 0;
    expect(await numbers(await resume())).toEqual(straight);
    expect(warnings).toEqual([
      expect.stringMatching(/has no checksums.json, as it is of an earlier version/),
      expect.stringMatching(/of an earlier version, so it is not known .*: .*model.weights.*rows/),
    ]);
  });
});

describe('checksums', () => {
  it('tell every flipped bit and every cut of every file', async () => {
    const straight = await numbers(await run());
    const checkpoint = join(copy, 'checkpoint-2');
    const names = await readdir(checkpoint);
    expect(names).toContain('checksums.json');
    let refused = 0;
    for (const [f, name] of names.entries()) {
      const path = join(checkpoint, name);
      const bytes = await readFile(path);
      const at = Key.fromSeed(f).uniformHost(24);
      const flips = Array.from(at.subarray(0, 20), (u) => {
        const damaged = Buffer.from(bytes);
        damaged[Math.floor(u * bytes.length)]! ^= 1 << (Math.floor(u * 2 ** 20) % 8);
        return damaged;
      });
      const cuts = [0, 1, 8, Math.floor(bytes.length / 2), bytes.length - 1].map((end) => bytes.subarray(0, end));
      for (const damaged of [...flips, ...cuts]) {
        await writeFile(path, damaged);
        const error = await loadCheckpoint(checkpoint).then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
        // White space of checksums.json says nothing.
        if (error === undefined) expect(name).toBe('checksums.json');
        else {
          refused++;
          expect(error).toMatchObject({
            code: 'CHECKPOINT',
            message: expect.stringContaining(`${checkpoint}: ${name} `),
          });
        }
      }
      await rm(path);
      await expect(loadCheckpoint(checkpoint)).rejects.toMatchObject({ message: expect.stringContaining(name) });
      await writeFile(path, bytes);
    }
    expect(refused).toBeGreaterThan(names.length * 25 - 12);
    expect(await numbers(await resume())).toEqual(straight);
  });

  it('name an older checkpoint where the newest is an empty folder', async () => {
    await mkdir(join(copy, 'checkpoint-9'));
    await expect(resume()).rejects.toThrow(
      /checkpoint-9: is not a checkpoint: trainer_state.json cannot be read. \S+checkpoint-2 is intact/,
    );
  });

  it('name the newest older checkpoint that is intact', async () => {
    await resume({ saveSteps: 1 });
    const spoil = (step: number) => appendFile(join(copy, `checkpoint-${step}/optimizer.safetensors`), 'x');
    await spoil(4);
    await spoil(3);
    const error = resume();
    await expect(error).rejects.toThrow(
      /checkpoint-4: optimizer.safetensors has \d+ bytes, not \d+. .*checkpoint-2 is intact/,
    );
    await spoil(2);
    await expect(resume()).rejects.toThrow(/there is no older checkpoint that is intact/);
  });
});

describe('the lock of an output folder', () => {
  const lock = (holder: object) => writeFile(join(copy, '.posttrain-run.lock'), JSON.stringify(holder));
  const ended = async () => {
    const child = spawn(process.execPath, ['-e', '']);
    await once(child, 'exit');
    return { pid: child.pid!, host: hostname(), began: null, token: 'x', started: 'then', command: 'a run' };
  };

  it('lets one of two runs go on, and the other name it', async () => {
    const both = await Promise.allSettled([resume(), resume(), resume()]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected', 'rejected']);
    for (const one of both) {
      if (one.status === 'fulfilled') continue;
      expect(one.reason).toMatchObject({ code: 'RUN_LOCKED' });
      expect(String(one.reason)).toMatch(`process ${process.pid} on ${hostname()}`);
    }
    expect((await readdir(copy)).sort()).toEqual(['checkpoint-2', 'checkpoint-4', 'metrics.jsonl']);
  });

  it.each(['', '{', 'null', '{}', '{"pid":"x"}', undefined])(
    'that is damaged (%j) counts as somebody’s',
    async (text) => {
      const path = join(copy, '.posttrain-run.lock');
      await (text === undefined ? mkdir(path) : writeFile(path, text));
      await expect(resume()).rejects.toMatchObject({
        code: 'RUN_LOCKED',
        message: expect.stringContaining('its lock cannot be read'),
      });
    },
  );

  it('of a process that has ended is taken over, by one run, with a warning', async () => {
    await lock(await ended());
    warnings.length = 0;
    const both = await Promise.allSettled([resume(), resume()]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(warnings).toEqual([expect.stringMatching(/took over the lock of process \d+, which has ended/)]);
  });

  it('of a later process with the same number is none, where the system says when it began', async () => {
    await lock({ ...(await ended()), pid: process.pid, began: 'another boot 1' });
    if (process.platform === 'linux') await resume();
    else await expect(resume()).rejects.toMatchObject({ code: 'RUN_LOCKED' });
  });

  it.each([
    ['of another host', async () => lock({ ...(await ended()), host: 'elsewhere' }), /on elsewhere, since then: a run/],
    ['that cannot be read', () => writeFile(join(copy, '.posttrain-run.lock'), 'x'), /delete .*posttrain-run.lock/],
  ])('%s is respected', async (_, make, message) => {
    await make();
    await expect(resume()).rejects.toThrow(message);
  });

  it('is released when the run fails, and when a signal ends the process', async () => {
    const stop = () => {
      throw new Error('stop');
    };
    await expect(resume({ onProgress: stop })).rejects.toThrow('stop');
    expect(await readdir(copy)).not.toContain('.posttrain-run.lock');
    const program = join(import.meta.dirname, 'sft-run.ts');
    const child = spawn(process.execPath, ['--import', 'tsx', program, join(copy, 'own')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([null, 'SIGTERM']);
    expect(await readdir(join(copy, 'own'))).not.toContain('.posttrain-run.lock');
  });
});

describe('what cannot be written', () => {
  it('is said before the first step where the folder is a file', async () => {
    const path = join(copy, 'file');
    await writeFile(path, 'kept');
    const steps: number[] = [];
    const running = run({ outputFolder: path, onProgress: ({ done }) => steps.push(done) });
    await expect(running).rejects.toMatchObject({ code: 'FILE', message: expect.stringContaining(path) });
    expect(steps).toEqual([]);
    expect(await readFile(path, 'utf8')).toBe('kept');
  });

  // As Node says it where a folder on a read-only file system is missing.
  it('is said with a remedy where a folder cannot be made', async () => {
    const running = failingAt(1, 'ENOENT', () => run({ outputFolder: join(copy, 'new/run') }));
    await expect(running).rejects.toMatchObject({ code: 'FILE', message: expect.stringContaining('is read-only') });
  });

  it('leaves the checkpoints before, whatever was being written', async () => {
    for (const at of [8, 12, 16, 20, 24, 28, 32]) {
      const running = failingAt(at, 'ENOSPC', () => resume());
      await expect(running).rejects.toMatchObject({ code: 'FILE', message: expect.stringContaining('disk is full') });
      expect(await latestCheckpoint(copy)).toBe(join(copy, 'checkpoint-2'));
      expect((await readdir(copy)).filter((name) => name.startsWith('.'))).toEqual([]);
    }
    await resume();
  });

  it('is no checkpoint with numbers that a run could not go on from', async () => {
    const path = join(copy, 'checkpoint-3');
    const spoilt = saveCheckpoint(copy, {
      snapshot: { step: 3, tensors: { 'parameters.w': tensor([1, Number.NaN]) } },
      state: { global_step: 3 },
    });
    await expect(spoilt).rejects.toMatchObject({
      code: 'NON_FINITE',
      message: expect.stringContaining(`${path}: not written`),
    });
    expect((await readdir(copy)).sort()).toEqual(['checkpoint-2', 'metrics.jsonl']);
  });

  it('nor does a run end with them, where there is no checkpoint', async () => {
    await expect(run({ steps: 1, learningRate: 1e300 })).rejects.toMatchObject({
      code: 'NON_FINITE',
      message: expect.stringMatching(
        /the run ended with the value \S+ in \S+lora_\w+.weight. Run it again with a lower/,
      ),
    });
  });

  it('nor does a run begin with them', async () => {
    const adapter = await adapterWith({});
    const [name] = Object.keys(adapter.parameters);
    const spoilt = {
      ...adapter,
      parameters: { ...adapter.parameters, [name!]: tensor(new Float32Array(64).fill(Number.NaN), [4, 16]) },
    };
    const { model } = await start;
    const weights = {
      ...model.weights,
      'model.norm.weight': tensor(new Float32Array(16).fill(Number.POSITIVE_INFINITY)),
    };
    await expect(run({ model: model.withWeights(weights) })).rejects.toThrow(
      /^model.norm.weight has the value Infinity/,
    );
    await expect(run({ adapter: spoilt })).rejects.toMatchObject({
      code: 'NON_FINITE',
      message: expect.stringContaining(name!),
    });
  });
});

describe('options and rows', () => {
  async function* streamed() {
    yield* countingRows;
  }
  function* failing(error: unknown) {
    yield* countingRows.slice(0, 2);
    throw error;
  }

  it('may be any iterable', async () => {
    const listed = await numbers(await run({ steps: 1 }));
    expect(await numbers(await run({ steps: 1, rows: streamed() }))).toEqual(listed);
    expect(await numbers(await run({ steps: 1, rows: new Set(countingRows) }))).toEqual(listed);
  });

  it.each<[object, RegExp]>([
    [{ model: 'models/tiny' }, /model is "models\/tiny"; it must be a CausalLM \(await CausalLM.load/],
    [{ adapter: 'adapters/a' }, /adapter is "adapters\/a"; it must be an adapter .*loadAdapter\(model, folder\)/],
    [{ rows: 'rows.jsonl' }, /rows is "rows.jsonl"; it must be a list of rows, or an iterable/],
    [{ rows: 'rows.jsonl' }, /Read the file: rows: readRows\("rows.jsonl"\), of @posttrain\/data\./],
    [{ rows: Promise.resolve([]) }, /rows is a Promise; .* Await it first\./],
    [{ bf16: true }, /unknown option "bf16"\. There is no training in bfloat16; fp16: true is mixed precision\./],
    [{ gradient_accumulation_steps: 4 }, /batchSize is all rows of an update/],
    [{ beta: 0.1 }, /unknown option "beta"\. It belongs to a preference loss or an objective/],
    [{ schedule: 'Linear' }, /schedule is "Linear"; .* Did you mean "linear"\?/],
    [{ rows: [countingRows[0], 'text'] }, /row 1 is "text"; every row must be an object/],
    [{ rows: [null] }, /row 0 is null/],
    [{ rows: [[1, 2]] }, /row 0 is \[1, 2\]; every row must be an object/],
    [{ rows: failing(new Error('cut off')) }, /what gives them failed at row 2: cut off/],
    [{ rows: failing('nothing') }, /what gives them failed at row 2: "nothing"/],
    [{ resume: '' }, /resume is ""; it must be true, false or the folder/],
    [{ outputFolder: 'a\0b' }, /outputFolder is .*; it must be the path of a folder/],
    [{ outputFolder: '' }, /outputFolder is ""; it must be the path of a folder/],
    [{ scheduleSettings: [1] }, /scheduleSettings is \[1\]; it must be an object/],
    [{ lossScaling: [1] }, /lossScaling is \[1\]/],
    [{ steps: undefined, epochs: 1e300 }, /epochs makes 3e\+300 updates, more than can be counted/],
    [{ num_train_epochs: 3 }, /unknown option "num_train_epochs". It is called "epochs" here/],
    [{ outputDir: 'out' }, /unknown option "outputDir". It is called "outputFolder" here/],
    [{ num_generations: 8 }, /unknown option "num_generations". Known options/],
    [{ learningRate: Number.NaN }, /learningRate is NaN; it must be a number of at least 0/],
    [{ learningRate: -1 }, /learningRate is -1/],
    [{ learningRate: Number.POSITIVE_INFINITY }, /learningRate is Infinity/],
    [{ maxGradNorm: Number.NaN }, /maxGradNorm is NaN/],
    [{ weightDecay: -0.1 }, /weightDecay is -0.1/],
    [{ seed: 2 ** 60 }, /seed is 1152921504606847000; it must be a whole number of at least 0/],
    [{ seed: 0.5 }, /seed is 0.5/],
    [{ epochs: Number.NaN }, /epochs is NaN/],
    [{ steps: 0 }, /steps is 0/],
    [{ warmupSteps: 1.5 }, /warmupSteps is 1.5/],
    [{ maxTokensPerPass: 0 }, /maxTokensPerPass is 0/],
    [{ optimizer: null }, /optimizer is null; it must be the name of an optimizer/],
    [{ saveTotalLimit: 0 }, /saveTotalLimit is 0/],
  ])('refuses %o by name', async (options, message) => {
    const running = run(options as Partial<SftOptions>);
    await expect(running).rejects.toThrow(message);
    expect(await running.catch(isPosttrainError)).toBe(true);
  });

  it('warns where steps replace epochs', async () => {
    warnings.length = 0;
    await run({ steps: 1, epochs: 2 });
    expect(warnings).toEqual(['sft: steps 1 replaces epochs 2; give one of the two.']);
  });

  it('a folder that cannot be made is an error, not a wait without end', async (context) => {
    if (process.platform !== 'linux') return context.skip('there is no /proc');
    await expect(run({ outputFolder: '/proc/nope/run' })).rejects.toMatchObject({ code: 'FILE' });
  });

  it('warns of rows that are there twice, and of a warm-up that does not end', async () => {
    warnings.length = 0;
    await run({ rows: [...countingRows, countingRows[3]!, countingRows[3]!], steps: 1, warmupSteps: 4 });
    expect(warnings).toEqual([
      expect.stringMatching(/2 of 14 rows are there already/),
      expect.stringMatching(/warmupSteps 4 is not below the run's 1 updates/),
    ]);
  });

  it('say what to lower when memory runs out', async () => {
    const adapter = await adapterWith({});
    const full = () => {
      throw new Error('std::bad_alloc');
    };
    const running = run({ adapter: { ...adapter, trainingHooks: full } });
    await expect(running).rejects.toMatchObject({
      code: 'OUT_OF_MEMORY',
      message: expect.stringMatching(/sft, step 0: memory ran out \(std::bad_alloc\). Lower maxTokensPerPass/),
    });
  });
});
