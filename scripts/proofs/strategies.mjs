// The door of searches over a script in the place of a model: strategies that no other proof or example runs, one row each. Every one keeps
// to its budget, as counted by who was asked, and finds the same tree with one call at a time and with eight, however long calls take.
import assert from 'node:assert/strict';
import {
  autoCot,
  blockwiseControlledDecoding,
  bm25,
  complexityBased,
  deer,
  forestOfThought,
  genSelect,
  knockoutTournament,
  lats,
  mctSelfRefine,
  mcts,
  multiAgentTreeOfThoughts,
  rag,
  react,
  recursiveSelfAggregation,
  reflexion,
  rStar,
  scMcts,
  selfRag,
  sequentialRevision,
  skeletonOfThought,
  swissTournament,
  traceRows,
} from '@posttrain/tts';
import { proof } from './proof.mjs';

/** FNV-1a: what makes the script a function of prompt, prefix and seed. */
const hash = (...parts) => {
  let sum = 0x811c9dc5;
  for (const letter of JSON.stringify(parts)) sum = Math.imul(sum ^ letter.charCodeAt(0), 0x01000193) >>> 0;
  sum = Math.imul(sum ^ (sum >>> 15), 0x2c1b3c6d) >>> 0;
  return (sum ^ (sum >>> 13)) >>> 0;
};
const STEPS = 3;

/** One digit a step, three steps; answers of one digit to all else. What is asked is counted, and calls may take a while. */
const script = (delay = () => 0) => {
  const counted = { completions: 0, verdicts: 0 };
  let calls = 0;
  const complete = ({ prompt, prefix = '', stop = [], maxTokens = 8 }, seed) => {
    const isStep = stop.length > 0 && prefix.split(stop[0]).length < STEPS;
    const completionTokens = Math.min(maxTokens, 1 + (hash('tokens', prompt, prefix, seed) % 4));
    const tokens = Array.from({ length: completionTokens }, (_, t) => t);
    const logProb = (t, rank) => -rank - hash('log', prompt, prefix, seed, t) / 2 ** 32;
    return {
      text: String(hash('digit', prompt, prefix, seed) % 5),
      ...{ finishReason: 'stop', stop: isStep ? stop[0] : null, usage: { promptTokens: 3, completionTokens } },
      ...{ tokenIds: tokens, logProbs: tokens.map((t) => logProb(t, 0)) },
      topLogProbs: tokens.map((t) => [0, 1, 2].map((rank) => ({ tokenId: rank, logProb: logProb(t, rank) }))),
    };
  };
  const later = async (value) => {
    await new Promise((resolve) => setTimeout(resolve, delay(calls++)));
    return value;
  };
  const generator = {
    name: 'script',
    generate: (requests) =>
      later(
        requests.map(({ n = 1, seed = 0, ...request }) => {
          counted.completions += n;
          return Array.from({ length: n }, (_, i) => complete(request, seed + i));
        }),
      ),
  };
  const verifier = {
    name: 'script',
    verify: (requests) => {
      counted.verdicts += requests.length;
      return later(requests.map(({ completion }) => ({ score: (hash('score', completion) % 1000) / 1000 })));
    },
  };
  return { generator, verifier, counted };
};

const stop = ['\n'];
const extractAnswer = (text) => /\d(?=\D*$)/.exec(text)?.[0] ?? null;
const retriever = bm25([
  { id: 'a', text: 'one digit' },
  { id: 'b', text: 'two digits' },
]);
const values = { method: 'value', prompt: (thoughts) => `How good: ${thoughts}`, parse: Number };
const thoughts = { steps: 3, stop, evaluations: 2, n: 2, evaluation: values };
const acting = {
  tools: { look: (argument) => `seen ${argument}` },
  parseAction: (step) =>
    /[01]$/.test(step.trim()) ? { tool: 'finish', argument: step.trim().at(-1) } : { tool: 'look', argument: 'it' },
  maxSteps: 6,
};
const memory = {
  reflectPrompt: (failed) => `Why not ${failed}`,
  memoryPrompt: (reflections) => `Remember ${reflections.join(' and ')}`,
};
const judgedBy = (verifier, ...roles) => ({ verifiers: Object.fromEntries(roles.map((role) => [role, verifier])) });
const plain = () => ({});

/** What each needs beside a generator: of the script's own `verifier` and `generator`. Those under `judged` get the verifier too. */
const unjudged = {
  complexityBased: plain,
  genSelect: plain,
  knockoutTournament: plain,
  swissTournament: plain,
  recursiveSelfAggregation: plain,
  skeletonOfThought: plain,
  react: () => acting,
  autoCot: () => ({
    ...{ questions: ['a', 'b', 'c', 'd'], clusters: 2 },
    embedder: { name: 'places', embed: async (texts) => texts.map((_, i) => new Float32Array([i])) },
  }),
  deer: () => ({ maxThinkingTokens: 12, transitions: stop, thinkingEnd: '.' }),
  rag: () => ({ retriever, k: 1, ragPrompt: (found) => `Read ${found[0].text}` }),
  selfRag: ({ verifier }) => ({
    ...{ n: 1, retriever, k: 2, stop, queryOf: (text) => `digit ${text}` },
    ...judgedBy(verifier, 'relevance', 'support', 'utility', 'retrieve'),
  }),
  rStar: ({ generator }) => ({
    ...{ n: 3, width: 1, votes: 3, masks: 2, maxDepth: 3, generators: { discriminator: generator } },
    prompts: {
      'one-step': ({ steps }) => `Step ${steps.length}`,
      remaining: ({ question, steps }) => `Solve ${question} from ${steps.length}`,
      'sub-question': ({ steps }) => `Ask ${steps.map(({ text }) => text).join('')}`,
      'answer-again': ({ steps }) => `Again ${steps.length}`,
      rephrase: ({ question }) => `Say ${question}`,
    },
  }),
};
const judged = {
  forestOfThought: () => ({
    ...{ ...thoughts, breadth: 1, trees: 3, correction: 2, correctPrompt: (so) => `Correct: ${so}` },
  }),
  sequentialRevision: () => ({ chains: 2 }),
  blockwiseControlledDecoding: () => ({ blockTokens: 2 }),
  lats: ({ verifier }) => ({ ...{ ...memory, n: 3, width: 2, stop }, ...judgedBy(verifier, 'value') }),
  reflexion: () => ({ ...acting, ...memory, n: 3 }),
  scMcts: ({ verifier }) => ({
    ...{ n: 3, width: 2, stop, rewards: { a: 1, b: 2 } },
    ...judgedBy(verifier, 'a', 'b'),
  }),
  mctSelfRefine: () => ({
    ...{ maxChildren: 1, feedbackPrompt: (answer) => `Faults of ${answer}` },
    refinePrompt: (answer, feedback) => `Better than ${answer}: ${feedback}`,
  }),
  multiAgentTreeOfThoughts: () => ({
    ...{ ...thoughts, breadth: 1, agents: 2, validity: 0.3 },
    feedbackPrompt: (rejected) => `Not so: ${rejected.map(({ text }) => text).join(' or ')}`,
  }),
};

const strategies = {
  ...{
    autoCot,
    blockwiseControlledDecoding,
    complexityBased,
    deer,
    forestOfThought,
    genSelect,
    knockoutTournament,
    lats,
    mctSelfRefine,
    multiAgentTreeOfThoughts,
  },
  ...{
    rag,
    react,
    recursiveSelfAggregation,
    reflexion,
    rStar,
    scMcts,
    selfRag,
    sequentialRevision,
    skeletonOfThought,
    swissTournament,
  },
};

const treeOf = ({ text, answer, score, trace }) => ({ text, answer, score, nodes: trace.nodes });

for (const [rows, isJudged] of [
  [unjudged, false],
  [judged, true],
]) {
  for (const [name, needs] of Object.entries(rows)) {
    proof(`${name} keeps to its budget, and finds the same tree at any concurrency`, async () => {
      const run = (rest = {}, delay) => {
        const world = script(delay);
        const shared = { generator: world.generator, n: 4, extractAnswer, sampling: { seed: 3, maxTokens: 8 } };
        const options = { ...shared, ...(isJudged && { verifier: world.verifier }), ...needs(world), ...rest };
        const outcome = strategies[name]({ prompt: 'What is the digit?' }, options).catch((error) => error);
        return outcome.then((found) => ({ found, ...world.counted }));
      };
      const whole = await run();
      assert.ok(whole.found.text, `${whole.found}`);
      assert.equal(whole.found.trace.spent.completions, whole.completions);
      assert.equal(whole.found.trace.spent.verifierCalls, whole.verdicts);
      for (const batchSize of [1, 8]) {
        const again = await run({ batchSize }, (call) => (call * 7) % 4);
        assert.deepEqual(treeOf(again.found), treeOf(whole.found));
      }
      for (const budget of [
        { maxCompletions: whole.completions - 1 },
        { maxCompletions: 2 },
        { maxVerifierCalls: 1 },
      ]) {
        const { found, completions, verdicts } = await run({ budget });
        assert.ok(found.trace, `${found}`);
        assert.ok(
          completions <= (budget.maxCompletions ?? completions) && verdicts <= (budget.maxVerifierCalls ?? verdicts),
        );
      }
    });
  }
}

proof('what a search knows of steps becomes pairs for a process preference model', async () => {
  const { generator } = script();
  const verifier = {
    name: 'even',
    verify: async (all) => all.map(({ completion }) => ({ score: 1 - (completion.at(-1) % 2) })),
  };
  const { trace } = await mcts(
    { prompt: 'What is the digit?' },
    { generator, verifier, n: 24, width: 3, stop, sampling: { seed: 3, maxTokens: 8 } },
  );
  const rows = traceRows(trace, { kind: 'process-preference' });
  assert.ok(rows.length > 0);
  for (const { prompt, chosen, rejected, chosen_value, rejected_value } of rows) {
    assert.ok(prompt.startsWith('What is the digit?') && chosen_value > rejected_value && chosen !== rejected);
  }
});
