/**
 * Speculative decoding against plain decoding, greedy, one row: `npx tsx benchmarks/speculative.ts [TOKENS REPEATS]`.
 * The weights are random, at SmolLM2-135M's shape. The draft is the first layers of the model itself, and what the other
 * layers add is made small, so that it agrees **by construction**: these are the ratios for a given acceptance rate and this
 * cost of the draft, not what a real pair of models would reach. Runs take turns; the median of the ratios is given.
 */
import { realize, setEngine, type Tensor, tensor } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { CausalLM, LocalGenerator, networkOf, parseModelConfig, type SpeculativeOptions } from '@posttrain/lm';
import { anyTokenizer } from './random-model.js';

const [count = 96, repeats = 5] = process.argv.slice(2).map(Number);
const LAYERS = 30;
const DRAFT_LAYERS = 3;
const SHAPE = {
  model_type: 'llama',
  vocab_size: 49152,
  hidden_size: 576,
  intermediate_size: 1536,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  max_position_embeddings: 2048,
  tie_word_embeddings: true,
  initializer_range: 0.05,
};

setEngine(onnxruntimeEngine({ threads: 2 }));
const base = await CausalLM.initialize(
  {
    config: parseModelConfig({ ...SHAPE, num_hidden_layers: LAYERS }),
    tokenizer: await anyTokenizer(),
    name: 'target',
  },
  0,
);
const network = networkOf(parseModelConfig({ ...SHAPE, num_hidden_layers: DRAFT_LAYERS }));
const names = new Set(network.parameters.map(({ name }) => name));
const shared = Object.fromEntries(Object.entries(base.weights).filter(([name]) => names.has(name)));
const { tokenizer } = base;
const draft = new CausalLM({ config: network.config, weights: shared, tokenizer, name: 'draft' }, network);

console.log(
  `${LAYERS} layers, draft of ${DRAFT_LAYERS}; ${count} tokens, batch 1, greedy; median of ${repeats}, one run at a time`,
);
for (const share of [0, 0.05, 0.15]) {
  const target = base.withWeights(await damped(share));
  for (const tokens of [3, 7]) {
    const { ratio, acceptanceRate, tokensPerPass, plain } = await compare(target, { draft, tokens });
    const made = `${acceptanceRate.toFixed(2)} accepted, ${tokensPerPass.toFixed(2)} tokens a pass`;
    console.log(
      `later layers × ${share}, draft ${tokens}: ${made}; ${ratio.toFixed(2)}× plain (${plain.toFixed(1)} tokens/s)`,
    );
  }
}

/** The weights with what the layers behind the draft's add times `share`. */
async function damped(share: number): Promise<Readonly<Record<string, Tensor>>> {
  const weights: Record<string, Tensor> = { ...base.weights };
  for (let layer = DRAFT_LAYERS; layer < LAYERS; layer++) {
    for (const part of ['self_attn.o_proj', 'mlp.down_proj']) {
      const name = `model.layers.${layer}.${part}.weight`;
      const numbers = (await weights[name]!.data()) as Float32Array;
      weights[name] = tensor(
        numbers.map((x) => x * share),
        weights[name]!.shape,
      );
    }
  }
  await realize(Object.values(weights));
  return weights;
}

async function compare(target: CausalLM, speculative: SpeculativeOptions) {
  const request = { prompt: 'abbaabab', temperature: 0, maxTokens: count };
  const generators = [new LocalGenerator(target), new LocalGenerator(target, { speculative })] as const;
  const answers: number[][] = [];
  const time = async (which: 0 | 1) => {
    const start = performance.now();
    const [completions] = await generators[which].generate([request]);
    const seconds = (performance.now() - start) / 1000;
    answers[which] = [...completions![0]!.tokenIds!];
    return seconds;
  };
  const ratios: number[] = [];
  const plainSeconds: number[] = [];
  for (let i = 0; i <= repeats; i++) {
    const [plain, fast] = [await time(0), await time(1)];
    // The first run compiles.
    if (i === 0) continue;
    ratios.push(plain / fast);
    plainSeconds.push(plain);
  }
  if (answers[0]!.join() !== answers[1]!.join()) throw new Error('speculation changed the greedy completion');
  const { acceptanceRate, tokensPerPass } = generators[1].speculation!;
  return { ratio: median(ratios), plain: count / median(plainSeconds), acceptanceRate, tokensPerPass };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
