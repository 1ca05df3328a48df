import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CausalLM, parseModelConfig } from '@posttrain/lm';
import { afterAll, expect, it } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'posttrain-dry-run-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const root = join(import.meta.dirname, '../../..');
const tiny = join(root, 'examples/pretrain-tiny/model');

/** A command in a process of its own, as a person runs it: what it prints, and the most memory that it held, in MB. */
function run(...given: readonly string[]) {
  const script = `
    import { posttrain } from ${JSON.stringify(join(root, 'packages/cli/src/index.ts'))};
    let out = '';
    const started = performance.now();
    const code = await posttrain(${JSON.stringify(given)}, {
      print: (text) => { out += text; }, complain: (text) => process.stderr.write(text), environment: {},
    });
    const seconds = (performance.now() - started) / 1000;
    process.stdout.write(JSON.stringify({ code, out, seconds, peak: process.resourceUsage().maxRSS / 1024 * 1.048576 }));`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', script], {
    cwd: root,
    encoding: 'utf8',
  });
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout) as { code: number; out: string; seconds: number; peak: number };
}

async function modelOf(name: string, hidden: number, layers: number): Promise<string> {
  const { tokenizer, chatTemplate } = await CausalLM.load(tiny);
  const config = parseModelConfig({
    ...{ model_type: 'llama', vocab_size: tokenizer.vocabSize, hidden_size: hidden, intermediate_size: 3 * hidden },
    ...{ num_hidden_layers: layers, num_attention_heads: 4, max_position_embeddings: 512, tie_word_embeddings: true },
  });
  const model = await CausalLM.initialize({ config, tokenizer, chatTemplate, name }, 0);
  await model.save(join(folder, name));
  return join(folder, name);
}

/** Rows of very different lengths. */
function rowsOf(name: string, count: number, longest: number): string {
  const rows = Array.from({ length: count }, (_, i) => ({ text: '1+2=3 '.repeat(1 + ((i * 7919) % (longest / 6))) }));
  writeFileSync(join(folder, name), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return join(folder, name);
}

it.each([
  ['all weights of a wide model', 256, 4, 90, ['--batch-size', '8']],
  ['an adapter beside a deep model', 128, 8, 90, ['--batch-size', '8', '--adapter', 'lora', '--adapter.r', '8']],
  ['all weights with gradient checkpointing', 192, 4, 90, ['--batch-size', '8', '--gradient-checkpointing']],
] as const)(
  '--dry-run says within 20 %% what is held at most: %s',
  async (name, hidden, layers, longest, more) => {
    const model = await modelOf(name, hidden, layers);
    const rows = rowsOf(`${name}.jsonl`, 200, longest);
    const dry = run('sft', model, rows, join(folder, 'none'), ...more, '--steps', '6', '--dry-run');
    expect(dry.code).toBe(0);
    const said = Number(/memory +([\d.]+) (MB|GB)/.exec(dry.out)![1]) * (/ GB at/.test(dry.out) ? 1000 : 1);
    const real = run('sft', model, rows, join(folder, `${name} out`), ...more, '--steps', '6');
    expect(real.code).toBe(0);
    console.log(
      `${name}: said ${said} MB, held ${Math.round(real.peak)} MB; ${dry.out.split('\n')[4]}, took ${real.seconds.toFixed(0)} s`,
    );
    expect(Math.abs(said / real.peak - 1)).toBeLessThan(0.2);
  },
  600_000,
);
