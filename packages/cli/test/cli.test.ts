import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CausalLM, LocalGenerator } from '@posttrain/lm';
import { loadAdapter } from '@posttrain/peft';
import { dpoOptions, policyObjectives, policyOptions } from '@posttrain/rl';
import { distillOptions, rewardModelOptions, sftOptions } from '@posttrain/training';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { posttrain } from '../src/index.js';
import { OBJECTIVES } from '../src/objective-names.js';
import { commandLine, merged } from '../src/options/command-line.js';
import { DESCRIPTIONS } from '../src/options/descriptions.js';
import { commandOptions, programOnly } from '../src/training/made-options.js';
import { kindNamed } from '../src/training/run.js';
import { trlOptions } from '../src/trl/trl-options.js';

const folder = mkdtempSync(join(tmpdir(), 'posttrain-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);
const root = join(import.meta.dirname, '../../..');
const model = join(root, 'examples/pretrain-tiny/model');

const jsonl = (name: string, rows: readonly object[]): string => {
  writeFileSync(at(name), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return at(name);
};
const sums = [1, 2, 3, 4, 5, 6].map((a) => ({ prompt: `${a}+2`, completion: `${a}+2=${a + 2} #### ${a + 2}` }));
const rows = jsonl('rows.jsonl', sums);
const pairs = jsonl('pairs.jsonl', [
  { prompt: '1+2', chosen: '3', rejected: '4' },
  { prompt: '2+2', chosen: '4', rejected: '5' },
]);
const prompts = jsonl('prompts.jsonl', [
  { prompt: [{ role: 'user', content: '1+2' }], answer: '3' },
  { prompt: [{ role: 'user', content: '2+2' }], answer: '4' },
]);

/** A command in this process: its exit code and what it said. */
async function run(...given: readonly string[]) {
  let [out, err] = ['', ''];
  const code = await posttrain(given, {
    print: (text) => {
      out += text;
    },
    complain: (text) => {
      err += text;
    },
    environment: {},
  });
  return { code, out, err };
}

const trainings = {
  sft: sftOptions,
  prefer: dpoOptions,
  reward: rewardModelOptions,
  distill: distillOptions,
  grpo: policyOptions,
} as const;
const shapeOf = (name: keyof typeof trainings) => {
  const { declared, made } = kindNamed(name);
  return { ...declared, shape: commandOptions(declared.shape, made) };
};

describe('options', () => {
  it.each(Object.entries(trainings))(
    'of %s are all that its trainer declares, each with what it says of itself',
    (name, { shape }) => {
      const { declared, made, descriptions } = kindNamed(name);
      const taken = commandOptions(declared.shape, made);
      for (const option of Object.keys(shape)) {
        expect(Object.hasOwn(taken, option) !== Object.hasOwn(programOnly, option), option).toBe(true);
      }
      const said = Object.assign({}, ...descriptions.map((table) => DESCRIPTIONS[table]));
      expect(Object.keys(taken).filter((option) => said[option] === undefined)).toEqual([]);
    },
  );

  it.each([
    ['--batch-size 4', { batchSize: 4 }],
    ['--batch-size=4 --learning-rate 1e-4', { batchSize: 4, learningRate: 1e-4 }],
    ['--packing --no-completion-only-loss', { packing: true, completionOnlyLoss: false }],
    ['--packing false', { packing: false }],
    ['--allow-changed [steps]', { allowChanged: ['steps'] }],
    ['--best-metric 3', { bestMetric: '3' }],
    ['--optimizer adamw_torch --optimizer.beta1 0.8', { optimizer: { name: 'adamw_torch', beta1: 0.8 } }],
    ['--adapter lora --adapter.r 4 --adapter dora', { adapter: 'dora' }],
    ['--resume', { resume: true }],
    ['--resume=some/folder', { resume: 'some/folder' }],
  ])('are read from %s', (typed, given) => {
    expect(commandLine(shapeOf('sft'), typed.split(' ')).given).toEqual(given);
  });

  it('that are typed go over those of a file, part by part', () => {
    const file = { seed: 1, optimizer: { name: 'adamw_torch', beta1: 0.8 }, loss: 'sigmoid' };
    const typed = { seed: 2, optimizer: { beta2: 0.9 }, loss: { beta: 0.2 } };
    expect(merged(file, typed)).toEqual({
      ...{ seed: 2, loss: { name: 'sigmoid', beta: 0.2 } },
      optimizer: { name: 'adamw_torch', beta1: 0.8, beta2: 0.9 },
    });
    expect(merged(file, { optimizer: 'lion_32bit' })).toEqual({ ...file, optimizer: 'lion_32bit' });
  });
});

describe('what cannot be meant ends with 2 and a line that says what, where and the remedy', () => {
  it.each([
    ['sftt', 'there is no command "sftt". Did you mean "sft"?'],
    ['sft a b c --lerning-rate 1', 'there is no option --lerning-rate. Did you mean --learning-rate?'],
    ['sft a b c --num_train_epochs 1', 'It is called --epochs here.'],
    ['sft a b c --learning-rate x', '--learning-rate is "x"; it must be a number of at least 0'],
    ['sft a b c --learning-rate', '--learning-rate takes a value: a number of at least 0.'],
    ['sft a b', '--output-folder is missing'],
    ['sft a b c d', '"d" is too much'],
    ['sft a b c --model d', 'model is given twice'],
    ['sft a b c --before-step 1', '--before-step: It is a function of a program'],
    ['sft a b c -x', 'options have two dashes'],
    ['sft a b c --no-constructor', 'there is no option --no-constructor.'],
    ['sft a b c --constructor 1', 'there is no option --constructor.'],
    [`sft ${model} ${rows} c --loss label-smoothing --loss.__proto__ 1`, '--loss label'],
    ['sft a b c --config nowhere.yaml', '--config nowhere.yaml: there is no such file.'],
    [`sft ${model} ${rows} c --loss nul`, '--loss: there is no "nul".'],
    [`sft ${model} ${rows} c --adapter lorra`, '--adapter: there is no "lorra". Did you mean "lora"?'],
    [`sft ${model} ${rows} c --adapter lora --adapter.rank 2`, '--adapter lora: unknown option "rank".'],
    [
      `prefer ${model} ${pairs} c --loss simpo --loss.gama 1`,
      '--loss simpo: unknown option "gama". Did you mean "gamma"?',
    ],
    [`grpo ${model} ${prompts} c --steps 1`, '--rewards is missing'],
    [`grpo ${model} ${prompts} c --steps 1 --rewards.a exact`, '--rewards.a: there is no "exact".'],
  ])('%s', async (typed, said) => {
    const { code, out, err } = await run(...typed.split(' '));
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain(said);
    expect(err.trim().split('\n')).toHaveLength(1);
    expect(existsSync('c')).toBe(false);
  });

  it('and what fails ends with 1', async () => {
    const typo = await run('sft', model, 'data/nowhere.jsonl', at('no'));
    expect([typo.code, typo.err]).toEqual([1, expect.stringContaining('there is no such file or folder')]);
    writeFileSync(at('twice.yaml'), 'batch-size: 2\nbatchSize: 3\n');
    const twice = await run('sft', model, rows, at('no'), '--config', at('twice.yaml'));
    expect([twice.code, twice.err]).toEqual([2, expect.stringContaining('batch-size is given twice')]);
    const { code, err } = await run('sft', at('nothing'), rows, at('no'));
    expect(code).toBe(1);
    expect(err).toMatch(/^sft: .*nothing/);
  });
});

it('the names of objectives are those of the code, which --help does not load', () => {
  expect(OBJECTIVES).toEqual(Object.keys(policyObjectives));
});

it('--help and --version are said by every command', async () => {
  expect((await run('--version')).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  for (const name of ['sft', 'prefer', 'dpo', 'reward', 'distill', 'grpo', 'ppo']) {
    const { code, out } = await run(name, '--help');
    expect(code).toBe(0);
    expect(out).toContain('--learning-rate');
    expect(
      Math.max(...out.split('\n').map((line) => (line.startsWith('      ') ? line.length : 0))),
    ).toBeLessThanOrEqual(100);
  }
});

const small = ['--steps', '2', '--batch-size', '2'];
const sampled = [
  '--steps',
  '1',
  '--prompts-per-step',
  '2',
  '--completions-per-prompt',
  '2',
  '--max-completion-length',
  '8',
];

describe('the trainings', () => {
  it.each([
    ['sft', [rows, '--adapter', 'lora', '--adapter.r', '2', ...small], 'adapter'],
    ['prefer', [pairs, '--loss', 'simpo', '--loss.gamma', '0.5', ...small], 'model'],
    ['reward', [pairs, '--adapter', 'lora', ...small], 'adapter'],
    ['distill', [rows, '--teacher', model, '--max-completion-length', '8', ...small], 'model'],
    ['rloo', [prompts, '--rewards.right', 'exact-match', '--objective.beta', '0.01', ...sampled], 'model'],
    [
      'ppo',
      [prompts, '--rewards.right', 'exact-match', '--objective.critic.learning-rate', '1e-5', ...sampled],
      'model',
    ],
  ] as const)('%s: model folder and rows in, %s out', async (name, [file, ...more], kind) => {
    const output = at(name);
    const { code, err, out } = await run(name, model, file, output, ...more);
    expect(code, err).toBe(0);
    expect(out).toContain(join(output, kind));
    const base = await CausalLM.load(model);
    if (kind === 'model')
      expect((await CausalLM.load(join(output, 'model'))).config.vocabSize).toBe(base.config.vocabSize);
    else if (name === 'sft') expect((await loadAdapter(base, join(output, 'adapter'))).config).toMatchObject({ r: 2 });
    else expect(readdirSync(join(output, 'adapter'))).toContain('adapter_config.json');
    expect(readFileSync(join(output, 'metrics.jsonl'), 'utf8').trim().split('\n').length).toBeGreaterThan(0);
  });

  it('are the same from a file of ours and from one of TRL, to the last bit', async () => {
    const weights = (name: string) => readFileSync(join(at(name), 'adapter/adapter_model.safetensors'));
    writeFileSync(
      at('ours.yaml'),
      'learning-rate: 1e-3\nbatch-size: 4\nsteps: 2\nadapter:\n  name: lora\n  r: 4\n  lora-alpha: 8\n  loraDropout: 0.05\n',
    );
    writeFileSync(
      at('theirs.yaml'),
      `model_name_or_path: ${model}\ndataset_name: ${rows}\noutput_dir: ${at('theirs')}\nlearning_rate: 1.0e-3\n` +
        'per_device_train_batch_size: 2\ngradient_accumulation_steps: 2\nmax_steps: 2\nuse_peft: true\nlora_r: 4\nlora_alpha: 8\n',
    );
    expect((await run('sft', model, rows, at('ours'), '--config', at('ours.yaml'))).code).toBe(0);
    const theirs = await run('sft', '--config', at('theirs.yaml'));
    expect(theirs.code, theirs.err).toBe(0);
    expect(theirs.err).toContain('TRL 1.16');
    expect(weights('theirs').equals(weights('ours'))).toBe(true);
  });

  it('say what they will take, and keep nothing, with --dry-run', async () => {
    const { code, out } = await run(
      'sft',
      model,
      rows,
      at('dry'),
      '--adapter',
      'lora',
      '--batch-size',
      '2',
      '--dry-run',
    );
    expect(code).toBe(0);
    expect(out).toMatch(/rows +6\nsteps +9\ntokens +about \d+\nmemory +.* at its peak.*\ntime +about .*\n/);
    expect(existsSync(at('dry'))).toBe(false);
  });
});

it('Ctrl-C ends a run with 130 after its step, and --resume goes on to the same weights', async () => {
  const more = ['--adapter', 'lora', '--steps', '12', '--batch-size', '2', '--save-steps', '1000'];
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', join(root, 'packages/cli/src/cli.ts'), 'sft', model, rows, at('killed'), ...more],
    { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let err = '';
  child.stderr.on('data', (data: Buffer) => {
    err += data;
    // Twice would end it at once.
    if (/\d+ %/.test(err) && !err.includes('stopping')) {
      child.stderr.removeAllListeners('data');
      child.stderr.on('data', (more: Buffer) => {
        err += more;
      });
      child.kill('SIGINT');
    }
  });
  const [code] = await once(child, 'exit');
  expect(code, err).toBe(130);
  expect(err).toContain('--resume goes on');
  expect(existsSync(join(at('killed'), 'adapter'))).toBe(false);
  expect((await run('sft', model, rows, at('killed'), ...more, '--resume')).code).toBe(0);
  expect((await run('sft', model, rows, at('whole'), ...more)).code).toBe(0);
  const weights = (name: string) => readFileSync(join(at(name), 'adapter/adapter_model.safetensors'));
  expect(weights('killed').equals(weights('whole'))).toBe(true);
}, 60_000);

describe('the other commands', () => {
  it('search generates, and writes rows with answers whole', async () => {
    const out = at('found.jsonl');
    const how = [
      '--strategy',
      'weighted-best-of-n',
      '--verifier',
      'numeric-match',
      '--n',
      '2',
      '--sampling.max-tokens',
      '8',
    ];
    const { code, err } = await run(
      'search',
      model,
      '--rows',
      prompts,
      '--output',
      out,
      ...how,
      '--sampling.seed',
      '1',
    );
    expect(code, err).toBe(0);
    const found = readFileSync(out, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(found.map((row) => Object.keys(row).sort())).toEqual(
      [1, 2].map(() => ['answer', 'prompt', 'score', 'text']),
    );
  });

  it('generate is what the model says, one prompt or many', async () => {
    const greedy = ['--sampling.temperature', '0', '--sampling.max-tokens', '12'];
    const one = await run('generate', model, '1+2', ...greedy);
    expect(one.code, one.err).toBe(0);
    const out = at('said.jsonl');
    expect((await run('generate', model, '--rows', prompts, '--output', out, ...greedy)).code).toBe(0);
    const [first] = readFileSync(out, 'utf8').split('\n');
    expect(JSON.parse(first!).completions).toEqual([one.out.replace(/\n$/, '')]);
  });

  it.each([
    ['generate', ['--batch-size', '1', '--sampling.temperature', '0']],
    ['search', ['--n', '1', '--strategy', 'best-of-n', '--verifier', 'numeric-match', '--sampling.seed', '1']],
  ] as const)('%s keeps the rows that are done, and goes on with them', async (name, how) => {
    const [whole, out] = [at(`${name}-whole.jsonl`), at(`${name}-broken.jsonl`)];
    const given = (output: string) =>
      [name, model, '--rows', prompts, '--output', output, '--sampling.max-tokens', '6', ...how] as const;
    expect((await run(...given(whole))).code).toBe(0);
    let calls = 0;
    const kept = LocalGenerator.prototype.generate;
    const spy = vi.spyOn(LocalGenerator.prototype, 'generate').mockImplementation(function (
      this: LocalGenerator,
      requests: Parameters<typeof kept>[0],
    ) {
      if (++calls === 2) process.emit('SIGINT');
      return kept.call(this, requests);
    });
    // The second batch of generate is dropped; the second row of a search is finished.
    const broken = await run(...given(out));
    spy.mockRestore();
    expect([broken.code, broken.err]).toEqual(
      name === 'generate' ? [130, expect.stringContaining('1 of 2 rows')] : [0, expect.stringContaining('stopping')],
    );
    if (name === 'generate') {
      expect(existsSync(out)).toBe(false);
      const other = await run(...given(out), '--n', '2');
      expect([other.code, other.err]).toEqual([2, expect.stringContaining('has rows of another command')]);
      // As if it had been killed in the middle of a line.
      writeFileSync(`${out}.part`, `${readFileSync(`${out}.part`, 'utf8')}{"prompt": [{"ro`);
      expect((await run(...given(out))).code).toBe(0);
    }
    expect(readFileSync(out, 'utf8')).toBe(readFileSync(whole, 'utf8'));
    expect(existsSync(`${out}.part`)).toBe(false);
  });

  it('data says what rows are, and converts them', async () => {
    const csv = at('rows.csv');
    expect((await run('data', rows, csv, '--limit', '4', '--format', 'prompt-completion')).out).toContain(
      '4 prompt-completion',
    );
    const { code, out } = await run('data', csv, '--deduplicate', 'completion');
    expect(code).toBe(0);
    expect(out).toContain('4 rows (4 prompt-completion)');
    expect((await run('data', rows, '--format', 'preference')).code).toBe(1);
  });

  it('quantize and merge write models', async () => {
    const quantized = await run('quantize', model, at('int8'), '--method', 'int8');
    expect(quantized.code, quantized.err).toBe(0);
    expect((await CausalLM.load(at('int8'))).storage.quantizedParameters).toBeGreaterThan(0);
    const gptq = ['--method', 'int4', '--method.block-size', '16', '--format', 'gptq', '--dtype', 'float16'];
    const packed = await run('quantize', model, at('gptq'), ...gptq);
    expect(packed.code, packed.err).toBe(0);
    expect((await CausalLM.load(at('gptq'))).config.quantization).toMatchObject({ method: 'gptq', groupSize: 16 });
    const adapter = ['--adapter', 'lora', '--adapter.r', '2', ...small];
    expect((await run('sft', model, rows, at('to-merge'), ...adapter)).code).toBe(0);
    const merged = await run('merge', model, join(at('to-merge'), 'adapter'), at('merged'));
    expect(merged.code, merged.err).toBe(0);
    expect(merged.out).toContain('merging changed the logits');
    const recipe = at('recipe.yaml');
    writeFileSync(recipe, `merge_method: linear\nmodels:\n  - model: ${model}\n    parameters: { weight: 1 }\n`);
    const byRecipe = await run('merge', recipe, '--output', at('by-recipe'));
    expect(byRecipe.code, byRecipe.err).toBe(0);
  });

  it.each([
    ['generate', ['m'], 'give --prompt TEXT, or --rows FILE'],
    ['search', ['m', 'p', '--strategy', 'best'], '--strategy: there is no "best".'],
    ['search', ['m', 'p', '--strategy.of', '3'], 'majority-vote: unknown option "of"'],
    ['quantize', ['m', 'o', '--method', 'gptq'], '--rows and --method gptq or awq or smoothquant are given together'],
    ['quantize', ['m', 'o', '--method', 'nf4', '--format', 'awq'], '--format awq is for --method int4, gptq, awq; nf4'],
    ['merge', ['m', 'a'], '--output is missing'],
    ['eval', ['rum'], 'there is no command "rum"'],
    ['serve', ['--prt', '1'], 'there is no option --prt. Did you mean --port?'],
  ] as const)('%s %j says what is wrong, with 2', async (name, given, said) => {
    const real = given.map((one) => (one === 'm' ? model : one));
    const write = process.stderr.write;
    let direct = '';
    process.stderr.write = ((text: string) => {
      direct += text;
      return true;
    }) as typeof write;
    const { code, err } = await run(name, ...real).finally(() => {
      process.stderr.write = write;
    });
    expect(err + direct).toContain(said);
    expect(code).toBe(2);
  });

  it.each(['merge', 'quantize', 'generate', 'chat', 'search', 'data'])(
    '%s --help describes every option',
    async (name) => {
      const { code, out } = await run(name, '--help');
      expect(code).toBe(0);
      expect(out).toContain(`Usage: posttrain ${name}`);
      expect(out).not.toMatch(/^ {2}--[\w-]+\n {6}[^.]*\n(?= {2}--|$)/m);
    },
  );
});

describe("TRL's files", () => {
  const of = (command: keyof typeof trainings, options: Readonly<Record<string, unknown>>) =>
    trlOptions(command, shapeOf(command), options);

  it.each([
    [
      'sft',
      { packing: true, optim: 'adamw_torch', adam_beta1: 0.8 },
      { packing: true, optimizer: { name: 'adamw_torch', beta1: 0.8 }, epochs: 3, batchSize: 8 },
    ],
    [
      'sft',
      { eval_strategy: 'steps', dataset_name: 'd' },
      { rows: { path: 'd', split: 'train' }, evaluationRows: { path: 'd', split: 'test' }, evaluateEvery: 10 },
    ],
    ['sft', { load_in_4bit: true, use_bnb_nested_quant: true }, { quantization: { name: 'nf4', doubleQuant: true } }],
    [
      'prefer',
      { loss_type: 'sigmoid', label_smoothing: 0.1 },
      { loss: { name: 'cdpo', beta: 0.1, labelSmoothing: 0.1 }, epochs: 3 },
    ],
    [
      'prefer',
      { use_peft: true, sync_ref_model: true },
      {
        adapter: { name: 'lora', r: 16, loraAlpha: 32, loraDropout: 0 },
        referenceUpdate: { name: 'tr-dpo', refModelMixupAlpha: 0.6, refModelSyncSteps: 512 },
      },
    ],
    [
      'reward',
      { center_rewards_coefficient: 0.01 },
      { loss: { name: 'bradleyTerry', centerRewardsCoefficient: 0.01 } },
    ],
    [
      'grpo',
      {
        max_steps: 10,
        num_iterations: 2,
        per_device_train_batch_size: 4,
        gradient_accumulation_steps: 4,
        beta: 0.04,
        loss_type: 'grpo',
      },
      { steps: 5, promptsPerStep: 2, completionsPerPrompt: 8, objective: { beta: 0.04, scaleRewards: 'group' } },
    ],
  ] as const)('of %s: %o', (command, options, ours) => {
    expect(of(command, options).given).toMatchObject(ours);
  });

  it('name the objective that GRPOTrainer would take', () => {
    expect(of('grpo', { max_steps: 1 }).command).toBe('dapo');
    expect(of('grpo', { max_steps: 1, loss_type: 'dr_grpo' }).command).toBe('dr-grpo');
  });

  it.each([
    ['sft', { bf16: true }, "TRL's bf16: true has no equal here. There is no training in bfloat16"],
    ['sft', { learning_rat: 1 }, "TRL's learning_rat: has no equal here. Did you mean --learning-rate?"],
    ['sft', { deepspeed: 'x.json' }, "TRL's deepspeed: has no equal here."],
    ['sft', { warmup_ratio: 0.1 }, 'Give warmupSteps'],
    ['sft', { save_strategy: 'epoch' }, 'must be no or steps'],
    ['sft', { max_steps: 'many' }, "TRL's max_steps: takes a number"],
    ['prefer', { loss_type: ['sigmoid', 'sft'] }, "TRL's loss_type: Several losses"],
    ['grpo', {}, "TRL's max_steps: must be given"],
    ['grpo', { max_steps: 1, shuffle_dataset: false }, "TRL's shuffle_dataset: false has no equal here"],
    ['grpo', { max_steps: 1, steps_per_generation: 4 }, "TRL's steps_per_generation"],
    ['grpo', { max_steps: 1, reward_funcs: ['accuracy_reward'] }, "TRL's reward_funcs"],
  ] as const)('of %s are refused by name where nothing here is the same: %o', (command, options, said) => {
    expect(() => of(command, options)).toThrow(said);
  });
});
