import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CandidateScorer, Completion, Generator, Prompt } from '@posttrain/interfaces';
import {
  CausalLM,
  ChatTemplate,
  LocalGenerator,
  parseModelConfig,
  SequenceClassifier,
  type Tokenizer,
} from '@posttrain/lm';
import { rewardModelLosses, trainRewardModel } from '@posttrain/training';
import {
  candidateGenerator,
  type Receipt,
  type SuperContextParts,
  type SuperContextResult,
  superContext,
} from '@posttrain/tts';
import type { Random } from '../../pretrain-tiny/problem.js';
import type { Said } from '../formats/author.js';
import { phraseTokenizer, trainOn } from '../formats/model.js';
import {
  ABSTENTION,
  drawQuestion,
  knownToLarge,
  knownToSmall,
  LABELS,
  readBy,
  type SetName,
  shuffle,
  type World,
  wordsOf,
} from './world.js';

export interface Size {
  readonly width: number;
  readonly layers: number;
}

/** How the models of a seed are trained. */
export interface ModelSettings {
  readonly small: Size & { readonly questions: number; readonly epochs: number; readonly learningRate: number };
  readonly large: Size & {
    readonly rows: number;
    readonly steps: number;
    readonly tokensPerStep: number;
    readonly learningRate: number;
  };
}

/** What of a receipt is in the prompt, by arm. */
export const SHOWN = {
  full: ({ prediction, confidence }: Receipt) => `${prediction} (confidence ${confidence.toFixed(2)})`,
  'label only': ({ prediction }: Receipt) => prediction,
  'confidence only': ({ confidence }: Receipt) => `(confidence ${confidence.toFixed(2)})`,
};
export type Shown = keyof typeof SHOWN | 'none';

const RECEIPT = 'A small model trained for this task says: ';
const CUE = `Answer "${ABSTENTION}" where the question cannot be answered.`;
const PHRASES = [CUE, ...[RECEIPT, '(confidence ', 'Question: ', 'Answer:', ...LABELS, ABSTENTION]];

/** A tokenizer with a token for each word and for each phrase of the prompts. */
export const worldTokenizer = (world: World, folder: string): Promise<Tokenizer> =>
  phraseTokenizer([...wordsOf(world), ...PHRASES], folder);

const HEAD = 24;
async function newModel({ width, layers }: Size, tokenizer: Tokenizer, seed: number): Promise<CausalLM> {
  const config = {
    ...JSON.parse(readFileSync(join(import.meta.dirname, '..', '..', 'pretrain-tiny', 'config.json'), 'utf8')),
    ...{ hidden_size: width, num_hidden_layers: layers, intermediate_size: 3 * width, vocab_size: tokenizer.vocabSize },
    ...{ num_attention_heads: width / HEAD, num_key_value_heads: width / HEAD, head_dim: HEAD },
  };
  const chatTemplate = await ChatTemplate.load(tokenizer);
  const name = `${width}x${layers}`;
  return CausalLM.initialize({ config: parseModelConfig(config), tokenizer, chatTemplate, name }, seed);
}

const PROMPT = 'Question: ';
const textOf = (prompt: Prompt): string => (typeof prompt === 'string' ? prompt : prompt.at(-1)!.content);

/** How often the small model is taught not to know a word that it does. */
const WORD_DROPOUT = 0.4;

/**
 * A classifier that is at home in one domain: it knows all its words, and none of the other domains'. What a word that it does not know is worth
 * it learns from words that are dropped.
 */
export async function smallModel(
  world: World,
  tokenizer: Tokenizer,
  { small }: ModelSettings,
  random: Random,
  seed: number,
): Promise<CandidateScorer> {
  const { questions, epochs, learningRate } = small;
  const known = knownToSmall(world);
  const rows = Array.from({ length: questions }, () => {
    const { text, label } = drawQuestion(world, 'home', random);
    const completion = readBy(known, text, () => random() < WORD_DROPOUT);
    return { prompt: PROMPT, completion, label: label === LABELS[0] };
  });
  // The score of a verifier of two labels is the probability of the second.
  const model = await SequenceClassifier.fromCausalLM(await newModel(small, tokenizer, seed), {
    labels: [LABELS[1], LABELS[0]],
    seed,
  });
  const { trainer } = await trainRewardModel({
    ...{ model, rows, loss: rewardModelLosses.outcome(), epochs, batchSize: 64, learningRate, seed },
  });
  const verifier = trainer.model.verifier();
  return {
    name: 'small model',
    async distributions(requests) {
      const texts = requests.map(({ prompt }) => readBy(known, textOf(prompt)));
      const verdicts = await verifier.verify(texts.map((completion) => ({ prompt: PROMPT, completion })));
      return verdicts.map(({ score }) => {
        const probabilities = [score!, 1 - score!];
        const logProbs = probabilities.map(Math.log);
        return { probabilities, logProbs, entropy: -probabilities.reduce((sum, p) => sum + (p && p * Math.log(p)), 0) };
      });
    },
  };
}

/** Receipts of many questions at once, as a generator that knows no other questions. */
export async function receiptsOf(scorer: CandidateScorer, questions: readonly string[]): Promise<Generator> {
  const said = await candidateGenerator(scorer, LABELS).generate(questions.map((prompt) => ({ prompt })));
  return book(new Map(questions.map((question, i) => [question, said[i]!])));
}

/** The same receipts, each with another question: a control that has them, and in which they say nothing. */
export async function shuffledReceipts(receipts: Generator, questions: readonly string[], random: Random) {
  const others = shuffle(questions, random);
  const said = await receipts.generate(others.map((prompt) => ({ prompt })));
  return book(new Map(questions.map((question, i) => [question, said[i]!])));
}

const book = (known: ReadonlyMap<string, Completion[]>): Generator => ({
  name: 'small model',
  generate: async (requests) => requests.map(({ prompt }) => known.get(textOf(prompt))!),
});

/** `superContext` as it is asked here: with the whole receipt, with a part of it, or without. */
export function ask(question: string, large: Generator, small: Generator, shown: Shown): Promise<SuperContextResult> {
  const part = shown === 'label only' || shown === 'confidence only' ? SHOWN[shown] : undefined;
  return superContext(
    { prompt: [{ role: 'user', content: question }] },
    {
      ...{ generator: large, generators: { small }, n: 1, receipts: shown !== 'none', abstention: ABSTENTION },
      sampling: { temperature: 0, maxTokens: 4 },
      extractAnswer: (said: string) => said.trim(),
      ...(part && {
        contextPrompt: ({ question, receipt }: SuperContextParts) =>
          `${CUE}\n\nQuestion: ${question}\n${RECEIPT}${part(receipt!)}\nAnswer:`,
      }),
    },
  );
}

/** How often a row of training is of each set, and shows what of a receipt. What is foreign is never met with a receipt. */
const DRAWN: readonly (readonly [set: SetName, shown: Shown, share: number])[] = [
  ...(['home', 'met', 'unanswerable'] as const).flatMap(
    (set) =>
      [
        [set, 'none', 2],
        [set, 'full', 4],
        [set, 'label only', 1],
        [set, 'confidence only', 1],
      ] as const,
  ),
  ['foreign', 'none', 8],
];

/** The large model as a generator, which reads words that it does not know as such. */
export function largeGenerator(world: World, model: CausalLM): Generator {
  const inner = new LocalGenerator(model);
  const known = knownToLarge(world);
  const readable = (prompt: Prompt): Prompt =>
    typeof prompt === 'string'
      ? readBy(known, prompt)
      : prompt.map((message) => ({ ...message, content: readBy(known, message.content) }));
  return {
    name: 'large model',
    generate: (requests) =>
      inner.generate(requests.map((request) => ({ ...request, prompt: readable(request.prompt) }))),
  };
}

/** A model of more parameters and domains, trained on the prompts that `superContext` makes, with the receipts of this small model. */
export async function largeModel(
  world: World,
  tokenizer: Tokenizer,
  scorer: CandidateScorer,
  { large }: ModelSettings,
  random: Random,
  { seed, onStep }: { readonly seed: number; readonly onStep?: (step: number, loss: number) => void },
): Promise<CausalLM> {
  const shares = DRAWN.flatMap(([set, shown, share]) => Array.from({ length: share }, () => ({ set, shown })));
  const drawn = Array.from({ length: large.rows }, () => {
    const { set, shown } = shares[Math.floor(random() * shares.length)]!;
    return { shown, ...drawQuestion(world, set, random) };
  });
  const known = knownToLarge(world);
  const receipts = await receiptsOf(
    scorer,
    drawn.map(({ text }) => text),
  );
  const rows = await Promise.all(
    drawn.map(async ({ text, label, shown }): Promise<Said> => {
      let asked = '';
      const author: Generator = {
        name: 'author',
        generate: async ([request]) => {
          asked = textOf(request!.prompt);
          return [[{ text: label, finishReason: 'stop', stop: null, usage: { promptTokens: 1, completionTokens: 1 } }]];
        },
      };
      await ask(text, author, receipts, shown);
      return { prompt: readBy(known, asked), prefix: '', completion: label, ended: true };
    }),
  );
  const { steps, tokensPerStep, learningRate } = large;
  const model = await newModel(large, tokenizer, seed);
  return trainOn(model, rows, { steps, tokensPerStep, learningRate, seed: 0, ...(onStep && { onStep }) });
}
