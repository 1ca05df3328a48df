import type { CausalLM } from '@posttrain/lm';
import { LocalGenerator } from '@posttrain/lm';

export interface KnownAnswer {
  readonly prompt: string;
  /** What greedy decoding gives for `MAX_TOKENS`; a request for fewer gets its beginning, since a token is a letter. */
  readonly answer: string;
}

export interface SoakOptions {
  readonly requests: number;
  /** Requests at once. */
  readonly clients: number;
  readonly seed?: number;
  readonly onProgress?: (progress: { readonly done: number; readonly residentBytes: number }) => void;
}

export interface SoakResult {
  /** Requests by what they were and how they ended. */
  readonly counts: Readonly<Record<string, number>>;
  /** Answers that are not what they must be. */
  readonly wrong: readonly string[];
  /** Completions that the server still generates when all clients are done. */
  readonly stillRunning: number;
}

const MAX_TOKENS = 24;

/** Prompts of many lengths and their greedy answers, alone in their batch. */
export async function knownAnswers(model: CausalLM, count = 40): Promise<KnownAnswer[]> {
  const generator = new LocalGenerator(model);
  const known: KnownAnswer[] = [];
  for (let i = 0; i < count; i++) {
    const prompt = `${i}: ${'the quick brown fox. '.repeat(1 + (i % 12))}`.slice(0, 8 + i * 5);
    const [completions] = await generator.generate([{ prompt, temperature: 0, maxTokens: MAX_TOKENS }]);
    known.push({ prompt, answer: completions![0]!.text });
  }
  return known;
}

/** Sends requests of every kind, `clients` at once, and checks every answer. */
export async function soak(url: string, known: readonly KnownAnswer[], options: SoakOptions): Promise<SoakResult> {
  const { requests, clients, seed = 1, onProgress } = options;
  const random = randomNumbers(seed);
  const counts: Record<string, number> = {};
  const wrong: string[] = [];
  let sent = 0;
  const client = async () => {
    while (sent < requests) {
      const id = sent++;
      const kind = KINDS[Math.floor(random() * KINDS.length)]!;
      const outcome = await kind
        .send({ url, random, known: known[Math.floor(random() * known.length)]! })
        .catch((error: Error) => `failed: ${error.name} ${error.message}`);
      const name = `${kind.name}: ${outcome}`;
      counts[name] = (counts[name] ?? 0) + 1;
      if (!kind.expected.includes(outcome)) wrong.push(`request ${id}, ${name}`);
      if ((id + 1) % Math.ceil(requests / 20) === 0) {
        onProgress?.({ done: id + 1, residentBytes: await metric(url, 'process_resident_memory_bytes') });
      }
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  // A client that left is noticed a moment later.
  for (let i = 0; i < 100 && (await metric(url, 'posttrain_completions_running')) > 0; i++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { counts, wrong, stillRunning: await metric(url, 'posttrain_completions_running') };
}

interface Situation {
  readonly url: string;
  readonly random: () => number;
  readonly known: KnownAnswer;
}

interface Kind {
  readonly name: string;
  readonly expected: readonly string[];
  send(situation: Situation): Promise<string>;
}

const lengthOf = (random: () => number): number => 1 + Math.floor(random() * MAX_TOKENS);

/** A busy server may say so; that is an answer. */
const ANSWERED = ['right', 'busy'];

const whole: Kind = {
  name: 'whole',
  expected: ANSWERED,
  async send({ url, random, known }) {
    const max = lengthOf(random);
    const response = await post(url, 'completions', { ...greedy(known), max_tokens: max });
    if (response.status === 429) return busy(response);
    const { choices } = (await response.json()) as { choices: { text: string }[] };
    return choices[0]!.text === known.answer.slice(0, max) ? 'right' : 'mixed up';
  },
};

const streamed: Kind = {
  name: 'streamed',
  expected: ANSWERED,
  async send({ url, random, known }) {
    const max = lengthOf(random);
    const response = await post(url, 'completions', { ...greedy(known), max_tokens: max, stream: true });
    if (response.status === 429) return busy(response);
    const events = (await response.text())
      .trim()
      .split('\n\n')
      .map((event) => event.slice('data: '.length));
    if (events.pop() !== '[DONE]') return 'lost its end';
    const text = events
      .map((event) => (JSON.parse(event) as { choices: { text: string }[] }).choices[0]!.text)
      .join('');
    return text === known.answer.slice(0, max) ? 'right' : 'mixed up';
  },
};

const several: Kind = {
  name: 'several samples',
  expected: ANSWERED,
  async send({ url, known }) {
    const response = await post(url, 'completions', { ...greedy(known), max_tokens: 5, n: 3 });
    if (response.status === 429) return busy(response);
    const { choices } = (await response.json()) as { choices: { text: string }[] };
    return choices.length === 3 && choices.every(({ text }) => text === known.answer.slice(0, 5))
      ? 'right'
      : 'mixed up';
  },
};

const leaver: Kind = {
  name: 'leaves',
  expected: ['left', 'busy', 'answered first'],
  async send({ url, random, known }) {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), random() * 60);
    const body = { ...greedy(known), max_tokens: 900, stream: random() < 0.5 };
    try {
      const response = await post(url, 'completions', body, controller.signal);
      if (response.status === 429) return await busy(response);
      await response.text();
      return 'answered first';
    } catch (error) {
      if ((error as Error).name !== 'AbortError') throw error;
      return 'left';
    } finally {
      clearTimeout(timer);
    }
  },
};

const MALFORMED = [
  '',
  '{"model": "tiny", "prompt": ',
  '[]',
  '{"model": "tiny"}',
  '{"model": "tiny", "prompt": 5}',
  '{"model": "tiny", "prompt": "a", "max_tokens": -1}',
  '{"model": "tiny", "prompt": "a", "temperature": "warm"}',
  '{"model": "tiny", "prompt": "a", "no_such_field": 1}',
  `{"model": "tiny", "prompt": ${'['.repeat(3000)}${']'.repeat(3000)}}`,
  `{"model": "tiny", "prompt": "${'a'.repeat(60_000)}"}`,
  `{"model": "tiny", "prompt": "${'a'.repeat(70_000)}"}`,
  '{"model": "tiny", "prompt": "\u0000\ud800"}',
];

const malformed: Kind = {
  name: 'malformed',
  expected: ['refused'],
  async send({ url, random }) {
    const response = await post(url, 'completions', MALFORMED[Math.floor(random() * MALFORMED.length)]!);
    const { error } = (await response.json()) as { error?: { message?: string } };
    return response.status >= 400 && response.status < 500 && error?.message
      ? 'refused'
      : `answered ${response.status}`;
  },
};

const KINDS = [whole, whole, streamed, streamed, several, leaver, malformed] as const;

const greedy = ({ prompt }: KnownAnswer) => ({ model: 'tiny', prompt, temperature: 0 });

async function busy(response: Response): Promise<string> {
  await response.text();
  return response.headers.has('retry-after') ? 'busy' : 'busy without retry-after';
}

const post = (url: string, path: string, body: unknown, signal?: AbortSignal): Promise<Response> =>
  fetch(`${url}/v1/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...(signal ? { signal } : {}),
  });

async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${name} `))!
      .slice(name.length),
  );
}

/** mulberry32: numbers from 0 to 1, the same for the same seed. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}
