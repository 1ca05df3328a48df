import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { CausalLM } from '@posttrain/lm';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { temporaryFolder, tinyModel } from '../../lm/test/support.js';
import { loadQuantized } from '../src/load-quantized.js';
import { parseServeArguments } from '../src/serve-arguments.js';
import { postJson, scriptedModel, serve } from './support.js';

beforeAll(() => setEngine(onnxruntimeEngine()));

const root = join(import.meta.dirname, '../../..');

function start(args: readonly string[], environment: NodeJS.ProcessEnv = {}) {
  const child = spawn(process.execPath, ['--import', 'tsx', join(root, 'packages/serve/src/cli.ts'), ...args], {
    cwd: root,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  return child;
}

async function outcome(child: ChildProcess) {
  let errors = '';
  let output = '';
  child.stderr!.on('data', (data) => {
    errors += data;
  });
  child.stdout!.on('data', (data) => {
    output += data;
  });
  const [code] = await once(child, 'close');
  return { code, errors, output };
}

async function firstLine(child: ChildProcess): Promise<string> {
  const [line] = await once(createInterface({ input: child.stdout! }), 'line');
  return line;
}

describe('posttrain-serve', () => {
  it('serves a GGUF file', async () => {
    const child = start([join(root, 'goldens/gguf/smollm2.gguf'), '--port', '0', '--name', 'small']);
    const url = /^Serving small at (\S+)$/.exec(await firstLine(child))?.[1];
    const answer = await postJson(`${url}/completions`, { model: 'small', prompt: [1, 2], max_tokens: 2 });
    expect(await answer.json()).toMatchObject({ usage: { completion_tokens: 2 } });
  });

  it('says when it is ready, answers, and at SIGTERM finishes what it has and exits with 0', async () => {
    const folder = join(await temporaryFolder(), 'tiny');
    await (await tinyModel()).save(folder);
    const child = start([folder, '--port', '0', '--max-batch', '4', '--cache-tokens', '512'], {
      POSTTRAIN_API_KEY: 'sesame',
    });
    const ended = outcome(child);
    const line = await firstLine(child);
    const url = /^Serving tiny at (http:\/\/127\.0\.0\.1:\d+\/v1)$/.exec(line)?.[1];
    expect(url, line).toBeDefined();
    const body = { model: 'tiny', prompt: 'One', max_tokens: 100, temperature: 0 };
    expect((await postJson(`${url}/completions`, body)).status).toBe(401);
    const headers = { authorization: 'Bearer sesame' };
    const embedded = await postJson(`${url}/embeddings`, { model: 'tiny', input: 'One' }, { headers });
    expect(await embedded.json()).toMatchObject({ data: [{ index: 0, embedding: { length: 16 } }] });
    const running = await postJson(`${url}/completions`, { ...body, stream: true }, { headers });
    child.kill('SIGTERM');
    const text = await running.text();
    expect(text).toContain('"finish_reason":"length"');
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
    expect(await ended).toMatchObject({ code: 0, errors: '' });
  });

  it('says what is wrong in a line, and how it is called', async () => {
    const { url } = await serve({ a: scriptedModel(() => 'x') });
    const { port } = new URL(url);
    const [missing, command, name, taken] = await Promise.all([
      outcome(start(['./no/such/folder'])),
      outcome(start([])),
      outcome(start(['nodir'], { HF_HUB_OFFLINE: '1' })),
      outcome(start([join(root, 'goldens/gguf/smollm2.gguf'), '--port', port])),
    ]);
    expect(name).toMatchObject({ code: 1, output: '' });
    expect(name.errors).toMatch(
      /^serve: "nodir" cannot be used offline[^\n]* no folder or GGUF file nodir here [^\n]*\n$/,
    );
    expect(taken).toMatchObject({ code: 1, output: '' });
    expect(taken.errors).toBe(
      `serve: listen: the port ${port} of 127.0.0.1 is in use; choose another one (--port; 0 takes any free one)\n`,
    );
    expect(missing).toMatchObject({ code: 1, output: '' });
    expect(missing.errors).toMatch(/^serve: [^\n]*no\/such\/folder[^\n]*\n$/);
    expect(command.code).toBe(2);
    expect(command.errors).toContain('Usage: posttrain-serve MODEL');
  });
});

it.each([
  ['a.txt', 'gptq', 'One and one\n\nNumber two is one\n'],
  ['a.jsonl', 'awq', '{"text":"One and one"}\n{"text":"Number two"}\n'],
] as const)('quantises by the rows of %s before it serves (%s)', async (file, method, content) => {
  const folder = await temporaryFolder();
  const model = await tinyModel();
  await model.save(folder);
  const calibration = join(folder, file);
  await writeFile(calibration, content);
  const loaded = await loadQuantized(folder, { method, calibration });
  const rows = ['One and one', file === 'a.txt' ? 'Number two is one' : 'Number two'].map((text) =>
    model.tokenizer.encode(text),
  );
  const wanted = await (await CausalLM.load(folder)).quantize({ method, rows });
  expect(loaded.storage).toEqual(wanted.storage);
  expect(loaded.storage.quantizedParameters).toBeGreaterThan(0);
  const key = 'model.layers.0.mlp.down_proj.weight';
  expect(await loaded.weights[key]!.data()).toEqual(await wanted.weights[key]!.data());
  await writeFile(calibration, '\n');
  await expect(loadQuantized(folder, { method, calibration })).rejects.toThrow(/--calibration .*: it has no text/);
  await expect(loadQuantized(folder, { method, calibration: `${calibration}x` })).rejects.toThrow(
    /there is no such file/,
  );
});

describe('the arguments of serve', () => {
  it('have defaults', () => {
    expect(parseServeArguments(['models/tiny/'])).toMatchObject({
      model: 'models/tiny/',
      name: 'tiny',
      port: 8000,
      host: '127.0.0.1',
      adapters: [],
      adapterFolder: undefined,
      maxAdapters: 64,
      allowPause: false,
      apiKey: undefined,
      drainDeadline: 30_000,
    });
    expect(parseServeArguments(['--help'])).toBe('help');
  });

  it('are read', () => {
    const given = [
      '--name',
      'n',
      '--adapter',
      'a=x',
      '--adapter',
      'b=y=z',
      '--quantization',
      'nf4',
      '--api-key',
      'k',
      '--adapter-folder',
      'runs',
      '--max-adapters',
      '3',
      '--allow-pause',
      'm',
    ];
    expect(parseServeArguments(given, { POSTTRAIN_API_KEY: 'other' })).toMatchObject({
      model: 'm',
      name: 'n',
      adapters: [
        { name: 'a', folder: 'x' },
        { name: 'b', folder: 'y=z' },
      ],
      quantization: { method: 'nf4' },
      adapterFolder: 'runs',
      maxAdapters: 3,
      allowPause: true,
      apiKey: 'k',
    });
    const calibrated = ['m', '--quantization', 'gptq', '--calibration', 'f.jsonl'];
    expect(parseServeArguments(calibrated)).toMatchObject({ quantization: { method: 'gptq', calibration: 'f.jsonl' } });
    expect(parseServeArguments(['m', '--quantization', 'hqq'])).toMatchObject({ quantization: { method: 'hqq' } });
    const head = ['m', '--quantization', 'int4', '--quantize-head'];
    expect(parseServeArguments(head)).toMatchObject({ quantization: { method: 'int4', head: true } });
    expect(parseServeArguments(['m'], { POSTTRAIN_API_KEY: 'other' })).toMatchObject({ apiKey: 'other' });
  });

  it.each([
    [[], 'no model'],
    [['m', 'n'], '"n" is too much'],
    [['m', '--prot', '1'], 'Did you mean --port?'],
    [['m', '--port', 'x'], '--port takes a whole number'],
    [['m', '--port', '65536'], 'from 0 to 65535'],
    [['m', '--max-batch', '0'], '--max-batch'],
    [['m', '--adapter', 'x'], 'NAME=FOLDER'],
    [['m', '--quantization', 'int3'], 'nf4, fp4, int8, int4, hqq, gptq, awq'],
    [['m', '--quantization', 'awq'], '--calibration FILE'],
    [['m', '--quantization', 'hqq', '--calibration', 'f'], 'gptq or awq are given together'],
    [['m', '--quantization', 'gptq', '--calibration', 'f', '--quantize-head'], 'for --quantization int4 only'],
    [['m', '--quantize-head'], 'for --quantization int4 only'],
    [['m', '--quantization', 'nf4', '--quantize-head'], 'for --quantization int4 only'],
    [['m', '--api-key', ''], 'empty'],
  ])('%j: %s', (given, problem) => {
    expect(() => parseServeArguments(given)).toThrow(problem);
  });
});
