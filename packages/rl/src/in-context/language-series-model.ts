import { type Compiled, compile, iota, softCap, softmax, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import { assertArgument, type Given, integer, number, options, text } from '@posttrain/interfaces';
import { CausalLM, type Weights } from '@posttrain/lm';
import { hierarchicalDistribution, normalized } from './series-distribution.js';
import { SeriesError } from './series-error.js';
import type { SeriesModel } from './series-model.js';

const seriesModelOptions = options('languageSeriesModel', {
  /** Digits that are one token of the model: 1 (Llama 2, Qwen), 3 (Llama 3). Default 1. */
  digitsPerToken: integer({ default: 1, min: 1, max: 4 }),
  /** What stands behind every number; it must be one token. Default a comma. */
  separator: text({ default: ',' }),
  /** What stands before the series, with the tokenizer's special tokens. Default nothing. */
  prefix: text({ default: '' }),
  /** Divides the logits of the digits. Default 1. */
  temperature: number({ default: 1, above: 0 }),
  /**
   * Of numbers that are several tokens: how likely the first digits must be for the model to be asked how they go on. What is less likely is
   * spread evenly. Default 0.01; 0 asks about all.
   */
  refineMass: number({ default: 0.01, min: 0, max: 1 }),
  /** Most tokens that one pass computes, padding included. Default 4096. */
  maxTokensPerPass: integer({ default: 4096, min: 1, decisive: false }),
});
/** Options of `languageSeriesModel`. */
export type LanguageSeriesModelOptions = Given<typeof seriesModelOptions>;

/** Tokens, and the places after which the next group of digits is asked for. */
interface Asked {
  readonly tokens: readonly number[];
  readonly places: readonly number[];
}

const LENGTH_STEP = 16;
const roundUp = (value: number, step: number): number => Math.ceil(value / step) * step;
const powerOfTwo = (value: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, value)));

/**
 * A causal language model as a model of series: "437,441,450," and the probabilities of the tokens that are digits, the others left out (LLMTime, arXiv
 * 2310.07820; llmICL, arXiv 2402.00795). Where a number is one token, its distribution is one softmax, and a pass gives that after every number (as in
 * DICL, arXiv 2410.11711). Where it is several, a pass gives the first digits after every number, and passes over what begins alike give the others, as far
 * as `refineMass` says: the hierarchical softmax.
 *
 * @throws OptionError; SeriesError for digits or a separator that are not one token each, and for a series that is longer than the context
 */
export function languageSeriesModel(model: CausalLM, given: LanguageSeriesModelOptions = {}): SeriesModel {
  assertArgument(
    'languageSeriesModel',
    'model',
    model,
    model instanceof CausalLM,
    'a CausalLM (await CausalLM.load(folder) gives one)',
  );
  const settings = seriesModelOptions.read(given);
  const { digitsPerToken, temperature, refineMass, maxTokensPerPass } = settings;
  const wrong = (problem: string) => new SeriesError(`languageSeriesModel of ${model.name}`, problem);
  const idOf = (piece: string): number => {
    const [id, ...more] = model.tokenizer.encode(piece, { addSpecialTokens: false });
    if (id !== undefined && more.length === 0) return id;
    throw wrong(
      `"${piece}" is ${more.length + (id === undefined ? 0 : 1)} tokens; it must be one. Is digitsPerToken ${digitsPerToken} right?`,
    );
  };
  const separator = idOf(settings.separator);
  const begin = model.tokenizer.encode(settings.prefix);
  const choices = Array.from({ length: 10 ** digitsPerToken }, (_, i) => idOf(String(i).padStart(digitsPerToken, '0')));
  const limit = model.config.maxPositionEmbeddings;
  const context = Number.isFinite(limit) ? limit : 2 ** 20;
  const choiceTensor = tensor(Int32Array.from(choices), [choices.length], 'int32');
  const run: Compiled<[Weights, Tensor, Tensor, Tensor], Tensor> = compile(
    (weights, tokens, places, among) => {
      const [b, s] = tokens.shape as [number, number];
      const input = { tokens, positions: iota([b, s], 1), segments: zeros([b, s], 'int32') };
      const hidden = model.network.hidden(weights, input);
      const { states, matrix } = model.network.outputLayer(
        weights,
        hidden.reshape([b * s, hidden.shape[2]!]).gather(places, 0),
      );
      const product = states.matmul(matrix.gather(among, 0), { transposeB: true }).cast('float32');
      const cap = model.network.logitSoftCap;
      return softmax((cap === undefined ? product : softCap(product, cap)).mul(1 / temperature));
    },
    { name: 'seriesDigits', engine: model.engine },
  );

  /** For each of what is asked, probabilities of the choices after each of its places. */
  const ask = async (asked: readonly Asked[]): Promise<Float64Array[][]> => {
    const results = new Array<Float64Array[]>(asked.length);
    for (let start = 0; start < asked.length; ) {
      let [count, width] = [0, 0];
      while (start + count < asked.length) {
        const wider = Math.min(context, roundUp(Math.max(width, asked[start + count]!.tokens.length), LENGTH_STEP));
        if (count > 0 && wider * powerOfTwo(count + 1) > maxTokensPerPass) break;
        [count, width] = [count + 1, wider];
      }
      const rows = asked.slice(start, start + count);
      const grid = new Int32Array(powerOfTwo(count) * width);
      const places = rows.flatMap(({ tokens, places }, row) => {
        grid.set(tokens, row * width);
        return places.map((place) => row * width + place);
      });
      const at = new Int32Array(powerOfTwo(places.length));
      at.set(places);
      const output = await run(
        model.weights,
        tensor(grid, [grid.length / width, width], 'int32'),
        tensor(at, [at.length], 'int32'),
        choiceTensor,
      );
      const data = await output.data();
      let next = 0;
      rows.forEach((row, i) => {
        results[start + i] = row.places.map(() => {
          const own = data.subarray(next * choices.length, ++next * choices.length);
          return normalized(Float64Array.from(own), choices.length, `languageSeriesModel of ${model.name}`);
        });
      });
      start += count;
    }
    return results;
  };

  const tokensOf = (digits: readonly number[]): number[] => {
    const tokens: number[] = [];
    for (let i = 0; i < digits.length; i += digitsPerToken)
      tokens.push(choices[numberOf(digits.slice(i, i + digitsPerToken))]!);
    return tokens;
  };

  return {
    name: model.name,
    async predict(series, { digits, after }) {
      if (digits % digitsPerToken !== 0)
        throw wrong(`numbers have ${digits} digits, and tokens ${digitsPerToken}: not a whole number of tokens`);
      const perNumber = digits / digitsPerToken + 1;
      const starts = series.map((numbers, i) => {
        if (numbers.length === 0 && begin.length === 0) throw wrong(`series ${i} is empty`);
        const tokens = [...begin, ...numbers.flatMap((number) => [...tokensOf(number), separator])];
        if (tokens.length + perNumber - 2 > context)
          throw wrong(
            `series ${i} has ${numbers.length} numbers, which are ${tokens.length} tokens with what is asked; its context has ${context}`,
          );
        const ends = numbers.map((_, t) => begin.length + (t + 1) * perNumber - 1);
        return { tokens, places: after === 'every' ? ends : ends.slice(-1) };
      });
      const first = await ask(starts);
      if (perNumber === 2) return first;

      // Numbers begun, from which the model is asked on, a token further each round.
      const known = starts.map(({ places }, i) => places.map((_, t) => new Map([['', first[i]![t]!]])));
      let open: Begun[] = first.flatMap((own, i) =>
        own.flatMap((p, t) => begunBy({ series: i, place: t, digits: '', mass: 1 }, p)),
      );
      for (let round = 1; round < perNumber - 1; round++) {
        const asked = open.map(({ series: i, place, digits: text }) => {
          const tokens = [
            ...starts[i]!.tokens.slice(0, starts[i]!.places[place]! + 1),
            ...tokensOf([...text].map(Number)),
          ];
          return { tokens, places: [tokens.length - 1] };
        });
        const answers = await ask(asked);
        for (const [n, begun] of open.entries()) known[begun.series]![begun.place]!.set(begun.digits, answers[n]![0]!);
        open = open.flatMap((begun, n) => begunBy(begun, answers[n]![0]!));
      }
      return known.map((own) =>
        own.map((tables) => hierarchicalDistribution(digits, (prefix) => digitOf(tables, prefix))),
      );
    },
  };

  /** What a number that is likely enough may go on as. */
  function begunBy(begun: Begun, probabilities: Float64Array): Begun[] {
    return [...probabilities.entries()].flatMap(([choice, p]) => {
      const mass = begun.mass * p;
      if (mass < refineMass) return [];
      return [{ ...begun, digits: begun.digits + String(choice).padStart(digitsPerToken, '0'), mass }];
    });
  }

  /** Weights of the digit after a prefix: of the tokens that begin with both, after the tokens that the prefix has. */
  function digitOf(tables: ReadonlyMap<string, Float64Array>, prefix: readonly number[]): Float64Array | undefined {
    const whole = prefix.length - (prefix.length % digitsPerToken);
    const own = tables.get(prefix.slice(0, whole).join(''));
    if (!own) return undefined;
    const rest = prefix.slice(whole);
    const span = 10 ** (digitsPerToken - rest.length - 1);
    const from = numberOf(rest) * 10 * span;
    const weights = Float64Array.from({ length: 10 }, (_, digit) =>
      own.subarray(from + digit * span, from + (digit + 1) * span).reduce((a, b) => a + b, 0),
    );
    return weights.some((p) => p > 0) ? weights : undefined;
  }
}

const numberOf = (digits: readonly number[]): number => digits.reduce((sum, digit) => 10 * sum + digit, 0);

/** The first digits of a number after a place of a series, and how likely they are. */
interface Begun {
  readonly series: number;
  readonly place: number;
  readonly digits: string;
  readonly mass: number;
}
