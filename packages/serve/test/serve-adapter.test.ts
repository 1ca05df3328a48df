import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Key, normal, setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { CausalLM, LocalGenerator, parseModelConfig, Tokenizer } from '@posttrain/lm';
import { createAdapter, lora, saveAdapter, withAdapterParameters } from '@posttrain/peft';
import { expect, it, onTestFinished } from 'vitest';

const packages = join(import.meta.dirname, '../..');

it('posttrain-serve loads adapter folders and answers with the one that a request names', async () => {
  setEngine(onnxruntimeEngine());
  const folder = await mkdtemp(join(tmpdir(), 'posttrain-serve-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const tokenizer = await Tokenizer.load(join(packages, '../goldens/tokenizers/byte-level-bpe'));
  const config = parseModelConfig({
    model_type: 'llama',
    vocab_size: tokenizer.vocabSize,
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    max_position_embeddings: 64,
    initializer_range: 0.4,
    bos_token_id: null,
    eos_token_id: null,
  });
  const model = await CausalLM.initialize({ config, tokenizer, name: 'tiny' }, 3);
  await model.save(join(folder, 'tiny'));
  const fresh = await createAdapter(model, lora, { r: 2, targetModules: ['q_proj', 'down_proj'] });
  const trained = Object.entries(fresh.parameters).map(([name, x], i) => [
    name,
    normal(Key.fromSeed(i).toTensor(), x.shape).mul(2),
  ]);
  const adapter = withAdapterParameters(fresh, Object.fromEntries(trained));
  await saveAdapter(join(folder, 'adapter'), adapter);

  const cli = join(packages, 'serve/src/cli.ts');
  const args = [join(folder, 'tiny'), '--port', '0', '--adapter', `tuned=${join(folder, 'adapter')}`];
  const child = spawn(process.execPath, ['--import', 'tsx', cli, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  const url = /^Serving tiny, tuned at (\S+)$/.exec(line)![1];
  const ask = async (name: string): Promise<string> => {
    const response = await fetch(`${url}/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: name, prompt: 'One', max_tokens: 8, temperature: 0 }),
    });
    const { choices } = (await response.json()) as { choices: { text: string }[] };
    return choices[0]!.text;
  };
  const request = { prompt: 'One', maxTokens: 8, temperature: 0 };
  const [base] = await new LocalGenerator(model).generate([request]);
  const [tuned] = await new LocalGenerator(model, { adapter: () => adapter }).generate([request]);
  expect(tuned![0]!.text).not.toBe(base![0]!.text);
  expect(await ask('tiny')).toBe(base![0]!.text);
  expect(await ask('tuned')).toBe(tuned![0]!.text);
});
