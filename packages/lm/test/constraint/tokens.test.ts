import { referenceEngine, setEngine } from '@posttrain/core-tensor';
import type { Constraint, GenerateRequest } from '@posttrain/interfaces';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { Automaton, type AutomatonState } from '../../src/constraint/automaton.js';
import { compileConstraint, grammarOf } from '../../src/constraint/compile-constraint.js';
import { CompiledConstraint, TokenTable } from '../../src/constraint/grammar-constraint.js';
import { LocalGenerator, type TokenConstraint, Tokenizer } from '../../src/index.js';
import { tinyModel } from '../support.js';
import { random, TOKENIZERS, tableOf } from './support.js';

beforeAll(() => setEngine(referenceEngine()));

const schema = {
  type: 'object',
  properties: {
    name: { type: 'string', maxLength: 6 },
    age: { type: 'integer', minimum: 0, maximum: 120 },
    tags: { type: 'array', items: { enum: ['red', 'blue'] }, maxItems: 2 },
  },
  required: ['name', 'age'],
};
const bits = (mask: Uint32Array) =>
  Array.from({ length: mask.length * 32 }, (_, token) => token).filter(
    (token) => mask[token >> 5]! & (1 << (token & 31)),
  );

describe.each(TOKENIZERS)('tokenBytes of %s', (kind) => {
  it('joined are the text that the tokenizer decodes, behind text and alone', async () => {
    const { tokenizer, table } = await tableOf(kind);
    const { inside, first = inside } = table.bytes;
    const context = tokenizer.encode('one', { addSpecialTokens: false });
    const before = tokenizer.decode(context);
    const ids = [...inside.keys()].filter((id) => !tokenizer.specialIds.has(id));
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...ids), { minLength: 1, maxLength: 12 }), (tokens) => {
        const join = (parts: readonly (Uint8Array | undefined)[]) => Buffer.concat(parts.map((part) => part!));
        const behind = join(tokens.map((id) => inside[id]));
        const alone = join(tokens.map((id, i) => (i === 0 ? first : inside)[id]));
        // What is not UTF-8 has no text; no constraint ends there.
        if (Buffer.from(behind.toString()).equals(behind)) {
          expect(tokenizer.decode([...context, ...tokens])).toBe(before + behind.toString());
        }
        if (Buffer.from(alone.toString()).equals(alone)) expect(tokenizer.decode(tokens)).toBe(alone.toString());
      }),
    );
  });
});

describe.each(TOKENIZERS)('masks over %s', (kind) => {
  it('allow exactly the tokens whose bytes can be read, in every state on the way', async () => {
    const { tokenizer, table } = await tableOf(kind);
    const grammars: Constraint[] = [
      { type: 'json-schema', schema },
      { type: 'regex', pattern: '(na|né|[^a-m]){2,9}' },
      { type: 'grammar', ebnf: 'root ::= "(" root ")" root | [a-z ]*' },
    ];
    for (const [seed, constraint] of grammars.entries()) {
      const automaton = new Automaton(grammarOf(constraint));
      const compiled = new CompiledConstraint(grammarOf(constraint), table);
      const row = compiled.begin(false);
      const uniform = random(seed + 3);
      let state: AutomatonState = automaton.start;
      const read = (from: AutomatonState, bytes: Uint8Array): AutomatonState | null =>
        bytes.reduce<AutomatonState | null>((at, byte) => at && automaton.step(at, byte), from);
      for (let step = 0; step < 25; step++) {
        const expected = table.bytes.inside.flatMap((bytes, id) =>
          bytes && bytes.length > 0 && !tokenizer.specialIds.has(id) && read(state, bytes) ? [id] : [],
        );
        expect(bits(row.allowed())).toEqual(expected);
        expect(row.isComplete).toBe(state.isAccepting);
        if (expected.length === 0) break;
        const token = expected[Math.floor(uniform() * expected.length)]!;
        row.accept(token);
        state = read(state, table.bytes.inside[token]!)!;
      }
    }
  });
});

describe('compileConstraint', () => {
  it('compiles a constraint once, and keeps what its rows found out', async () => {
    const { tokenizer } = await tableOf('byte-level-bpe');
    const constraint: Constraint = { type: 'choice', choices: ['yes', 'no'] };
    const compiled = compileConstraint(tokenizer, constraint);
    expect(compileConstraint(tokenizer, { ...constraint })).toBe(compiled);
    expect(compiled.begin(true).allowed()).toBe(compiled.begin(true).allowed());
    for (let i = 0; i < 40; i++) compileConstraint(tokenizer, { type: 'choice', choices: [`${i}`] });
    expect(compileConstraint(tokenizer, constraint)).not.toBe(compiled);
  });

  it('refuses tokenizers whose tokens are not bytes, and options that are not there', async () => {
    const { tokenizer } = await tableOf('unigram');
    const files = (decoder: unknown) => ({
      tokenizer: { model: { type: 'BPE', vocab: { a: 0 }, merges: [] }, decoder },
      config: {},
    });
    const wordpiece = new Tokenizer(files({ type: 'WordPiece', prefix: '##', cleanup: true }) as never);
    expect(() => new TokenTable(wordpiece)).toThrow('it decodes with WordPiece');
    expect(() => compileConstraint(tokenizer, { type: 'json', pattern: 'x' } as never)).toThrow(
      'unknown option "pattern"',
    );
  });

  it('refuses what is nested too deeply', async () => {
    const { tokenizer } = await tableOf('byte-level-bpe');
    const pattern = `${'('.repeat(9000)}a${')'.repeat(9000)}`;
    expect(() => compileConstraint(tokenizer, { type: 'regex', pattern })).toThrow('nested too deeply');
  });
});

describe('a request with a constraint', () => {
  it.each(TOKENIZERS)('%s: gives text that validates, or ran out of tokens', async (kind) => {
    const model = await tinyModel(kind);
    const validator = z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]);
    const constraint: Constraint = { type: 'json-schema', schema };
    const prompts = ['Person:', [{ role: 'user', content: 'A person?' }]] as const;
    const missing = kind === 'unigram' ? new Error('no fallback') : undefined;
    const run = new LocalGenerator(model).generate(
      prompts.map((prompt) => ({ prompt, constraint, n: 3, maxTokens: 90, seed: 4, logProbs: true })),
    );
    // A vocabulary that cannot write { has no way to begin, and says so.
    if (missing) return expect(run).rejects.toThrow('no token may come next');
    const completions = (await run).flat();
    const finished = completions.filter(({ finishReason }) => finishReason === 'stop');
    expect(finished.length).toBeGreaterThan(2);
    for (const { text, logProbs, tokenIds } of finished) {
      expect(validator.safeParse(JSON.parse(text)).success, text).toBe(true);
      expect(logProbs!.length).toBe(tokenIds!.length);
    }
    const short = await new LocalGenerator(model).generate([{ prompt: 'Person:', constraint, maxTokens: 3 }]);
    expect(short[0]![0]!.finishReason).toBe('length');
  });

  it.each(TOKENIZERS)('%s: chooses among texts that begin with a space, behind text and alone', async (kind) => {
    const model = await tinyModel(kind);
    const choices = [' one', ' one two', 'three'];
    for (const prompt of ['A', [{ role: 'user', content: 'A' }]]) {
      const [samples] = await new LocalGenerator(model).generate([
        { prompt, constraint: { type: 'choice', choices }, n: 8, maxTokens: 40, seed: 2 },
      ]);
      for (const { text, finishReason } of samples!) {
        expect(finishReason).toBe('stop');
        expect(choices).toContain(text);
      }
    }
  });

  it('may be one’s own', async () => {
    const model = await tinyModel();
    const counting = (): TokenConstraint => {
      let next = 5;
      return {
        allowed: () => Uint32Array.of(next > 8 ? 0 : 1 << next),
        accept: (token) => {
          next = token + 1;
        },
        get isComplete() {
          return next > 8;
        },
      };
    };
    const [samples] = await new LocalGenerator(model).generate([
      { prompt: 'A', n: 2, maxTokens: 9, constraint: counting },
    ]);
    for (const { tokenIds, finishReason } of samples!) {
      expect(tokenIds).toEqual([5, 6, 7, 8]);
      expect(finishReason).toBe('stop');
    }
  });

  it('fails alone when it has no way on', async () => {
    const model = await tinyModel('unigram');
    const generator = new LocalGenerator(model);
    const free = generator.generate([{ prompt: 'A', maxTokens: 12, seed: 1 }]);
    const stuck = generator.generate([
      { prompt: 'A', maxTokens: 12, constraint: { type: 'choice', choices: ['\u2603'] } },
    ]);
    await expect(stuck).rejects.toThrow('no token may come next');
    expect((await free)[0]![0]!.usage.completionTokens).toBe(12);
  });

  it('takes the rules of the request: bias, bad words, n-grams, minimal length', async () => {
    const model = await tinyModel();
    const complete = async (rules: Partial<GenerateRequest>) => {
      const [completions] = await new LocalGenerator(model).generate([
        { prompt: 'A', maxTokens: 20, seed: 3, ...rules },
      ]);
      return completions![0]!.tokenIds!;
    };
    expect(new Set(await complete({ logitBias: { 7: 100 } }))).toEqual(new Set([7]));
    const once = await complete({ logitBias: { 7: 100, 8: 50, 9: 25 }, noRepeatNgramSize: 1 });
    expect(once.slice(0, 3)).toEqual([7, 8, 9]);
    expect(new Set(once).size).toBe(20);
    const pairs = await complete({ logitBias: { 7: 100, 8: 50 }, badWordsIds: [[7, 7]] });
    expect(pairs.slice(0, 4)).toEqual([7, 8, 7, 8]);
    const penalized = await complete({ logitBias: { 7: 50, 8: 45 }, presencePenalty: 8, temperature: 0.01 });
    expect(penalized.slice(0, 2)).toEqual([7, 8]);
    await expect(complete({ logitBias: { 1e6: 1 } })).rejects.toThrow(
      'logitBias is 1000000; it must be made of tokens of the model',
    );
  });

  it('reports alternatives and entropies, in completions and in streams', async () => {
    const model = await tinyModel();
    const request = { prompt: 'A', maxTokens: 5, seed: 3, logProbs: true, topLogProbs: 2, entropies: true };
    const [completions] = await new LocalGenerator(model).generate([request]);
    const { topLogProbs, entropies, logProbs, tokenIds } = completions![0]!;
    const events = [];
    for await (const event of new LocalGenerator(model).stream(request)) events.push(event);
    expect(events.map(({ topLogProbs: top }) => top)).toEqual(topLogProbs);
    expect(events.map(({ entropy }) => entropy)).toEqual(entropies);
    expect(events.map(({ logProb }) => logProb)).toEqual(logProbs);
    for (const [i, [first, second]] of topLogProbs!.entries()) {
      expect(first!.logProb).toBeGreaterThanOrEqual(Math.max(second!.logProb, logProbs![i]!));
      if (first!.tokenId === tokenIds![i]) expect(first!.logProb).toBe(logProbs![i]);
    }
    const [plain] = await new LocalGenerator(model).generate([
      { ...request, logProbs: false, topLogProbs: 0, entropies: false },
    ]);
    expect(Object.keys(plain![0]!).sort()).toEqual(['finishReason', 'stop', 'text', 'tokenIds', 'usage']);
    expect(plain![0]!.tokenIds).toEqual(tokenIds);
  });
});
