/**
 * What a key/value cache in 8 bits (`kvCacheDtype: 'int8'`) costs: `npx tsx benchmarks/kv-cache-error.ts [ROWS]`. Rows of 128 tokens are
 * computed over a cache of floats and one of 8 bits, 16 tokens a pass: perplexity with both, KL(floats ‖ 8 bits) of the next token in nats,
 * how often the likeliest token is the same, and bytes of a token. Of examples/pretrain-tiny's trained model on documents that it has not seen, and of
 * the 10M shape with random weights on random tokens.
 */
import { join } from 'node:path';
import { CausalLM, logSoftmax, ModelRunner, type RunnableModel } from '@posttrain/lm';
import { documents } from '../examples/pretrain-tiny/corpus.js';
import { MODEL_CONFIGS } from './cases.js';
import { randomModel } from './random-model.js';
import { renderMarkdown } from './render.js';

const COUNT = Number(process.argv[2] ?? 16);
const LENGTH = 128;

async function logProbsOf(model: RunnableModel, tokens: readonly number[], kvCacheDtype: 'float32' | 'int8') {
  const runner = new ModelRunner(model, { kvCacheDtype, cacheTokens: 256 });
  const sequence = runner.start();
  const rows: Float64Array[] = [];
  for (let at = 0; at < tokens.length; at += 16) {
    const [result] = await runner.extend([{ sequence, tokens: tokens.slice(at, at + 16) }], { logits: 'all' });
    for (const logits of result!.logits) rows.push(Float64Array.from(logSoftmax(logits)));
  }
  return { rows, bytes: runner.cacheBytes / 272 };
}

async function compared(name: string, model: RunnableModel, rows: readonly (readonly number[])[]): Promise<string[]> {
  const nll = { float32: 0, int8: 0 };
  let [count, agreed, divergence, worst, bytes] = [0, 0, 0, 0, 0];
  for (const tokens of rows) {
    const [floats, codes] = [await logProbsOf(model, tokens, 'float32'), await logProbsOf(model, tokens, 'int8')];
    bytes = codes.bytes / floats.bytes;
    for (let t = 0; t + 1 < tokens.length; t++) {
      const [p, q] = [floats.rows[t]!, codes.rows[t]!];
      const kl = p.reduce((sum, x, i) => sum + Math.exp(x) * (x - q[i]!), 0);
      nll.float32 -= p[tokens[t + 1]!]!;
      nll.int8 -= q[tokens[t + 1]!]!;
      agreed += Number(p.indexOf(Math.max(...p)) === q.indexOf(Math.max(...q)));
      [count, divergence, worst] = [count + 1, divergence + kl, Math.max(worst, kl)];
    }
  }
  const perplexity = (sum: number) => Math.exp(sum / count).toFixed(4);
  const numbers = [(divergence / count).toExponential(1), worst.toExponential(1), (agreed / count).toFixed(4)];
  return [name, perplexity(nll.float32), perplexity(nll.int8), ...numbers, bytes.toFixed(3)];
}

const trained = await CausalLM.load(join(import.meta.dirname, '../examples/pretrain-tiny/model'));
const tokens: number[] = [];
for (const document of documents(2 ** 31 - 1)) {
  if (tokens.length >= COUNT * LENGTH) break;
  tokens.push(...trained.tokenizer.encode(document));
}
const cut = (all: readonly number[]) =>
  Array.from({ length: COUNT }, (_, i) => all.slice(i * LENGTH, (i + 1) * LENGTH));
const random = Array.from({ length: COUNT * LENGTH }, (_, i) => (2654435761 * (i + 1)) % 4096);
const headers = ['model', 'floats', 'int8', 'mean KL', 'largest', 'same likeliest', 'bytes'];
console.log(
  renderMarkdown([
    headers,
    await compared('pretrain-tiny', trained, cut(tokens)),
    await compared('10M, random', await randomModel(MODEL_CONFIGS['10m']), cut(random)),
  ]),
);
