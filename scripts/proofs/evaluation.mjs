// The door of evaluation: a judge of pairs in both orders, unit tests in a sandbox, and rewards that are programs. The kits of
// graders, kinds and sandboxes.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import {
  evaluate,
  metricOf,
  pairJudge,
  pairwise,
  pairwiseKind,
  passAtK,
  positionConsistency,
  winRate,
} from '@posttrain/eval';
import { testGrader, testTaskKind } from '@posttrain/eval/testing';
import { eureka, policyObjectives, trainPolicy } from '@posttrain/rl';
import { quickjs, unitTests } from '@posttrain/sandbox';
import { testSandbox } from '@posttrain/sandbox/testing';
import { it, proof } from './proof.mjs';
import { rows, tinyModel } from './tiny.mjs';

/** Says what a function of the prompt gives. */
const speaker = (name, say) => ({
  name,
  generate: async (requests) =>
    requests.map(({ prompt, n = 1 }) =>
      Array.from({ length: n }, (_, i) => ({
        ...{ text: say(prompt, i), finishReason: 'stop', usage: { promptTokens: 1, completionTokens: 1 } },
      })),
    ),
});

const questions = ['one', 'two', 'three', 'four'].map((question) => ({ question }));
const prompt = ({ question }) => question;
const duel = (judge) =>
  pairwise({
    ...{ name: 'duel', dataset: questions, prompt, judge, opponent: () => 'a long and empty answer' },
    metrics: [winRate(), positionConsistency()],
  });
const model = () => speaker('short', (question) => `${question}!`);

proof('a judge of pairs is asked in both orders', async (folder) => {
  const results = {};
  for (const [name, verdict] of Object.entries({
    fair: (text) => (text.indexOf('long') > text.indexOf('!') ? '[[A]]' : '[[B]]'),
    biased: () => '[[A]]',
  })) {
    const generator = speaker(name, (asked) => verdict(typeof asked === 'string' ? asked : asked.at(-1).content));
    const log = join(folder, `${name}.jsonl`);
    results[name] = await evaluate(duel(pairJudge({ generator })), model(), { log });
    const again = await evaluate(duel(pairJudge({ generator })), model(), { log });
    assert.deepEqual(again.metrics, results[name].metrics);
  }
  const valuesOf = (metric) => [results.fair, results.biased].map((result) => metricOf(result, metric).value);
  assert.deepEqual(valuesOf('win_rate'), [1, 0.5]);
  assert.deepEqual(valuesOf('position_consistency'), [1, 0]);
});

const sandbox = quickjs();
const grader = () => unitTests({ sandbox, language: 'javascript' });
const task = { prompt: 'function add(a, b) {', entry_point: 'add', test: ["require('assert').equal(add(1, 2), 3);"] };
const answers = [
  '```js\nfunction add(a, b) { return a + b; }\n```',
  '```js\nfunction add(a, b) { return a - b; }\n```',
];

proof('Eureka: a policy learns from programs in the sandbox, and the one that serves the task is kept', async () => {
  const programs = [
    'return { z: -y.length };',
    'return { vowels: y.split(/[aeiou]/).length - 1 };',
    'throw Error("no");',
  ];
  const writer = speaker('writer', (_, i) => `\`\`\`js\nfunction reward(x, y) { ${programs[i]} }\n\`\`\``);
  const vowelsOf = ({ completion }) => ({
    score: [...completion].filter((letter) => 'aeiou'.includes(letter)).length,
  });
  const served = { verifier: { name: 'served', verify: async (asked) => asked.map(vowelsOf) }, weight: 0 };
  const fitness = async (reward) => {
    const run = { promptsPerStep: 2, completionsPerPrompt: 8, maxCompletionLength: 6, steps: 8, learningRate: 3e-2 };
    const objective = policyObjectives.grpo();
    const rewards = { reward, served };
    const { history } = await trainPolicy({ ...run, objective, model: await tinyModel(), rows, rewards });
    return { score: history.at(-1).metrics['rewards/served/mean'] };
  };
  const found = await eureka({
    generator: writer,
    sandbox,
    task: 'Say vowels.',
    fitness,
    iterations: 1,
    candidates: 3,
  });
  assert.match(found.code, /vowels/);
  assert.deepEqual(
    found.candidates.map(({ score }) => score !== null),
    [true, true, false],
  );
});

proof('unit tests in the sandbox grade', async () => {
  const generator = speaker('coder', (_, i) => answers[i % 2]);
  const result = await evaluate(
    {
      ...{ type: 'generate', name: 'code', dataset: [task], prompt: (row) => row.prompt, samples: 4 },
      ...{ graders: [grader()], metrics: [passAtK(1)] },
    },
    generator,
  );
  assert.equal(metricOf(result, 'pass@1').value, 0.5);
});

const requests = answers.map((completion) => ({ prompt: task.prompt, completion, row: task }));
testGrader(it, grader, { cases: requests.map((request, i) => ({ request, score: 1 - i })), waits: true });
const byLength = {
  name: 'shorter',
  compare: async (asked) =>
    asked.map(({ first, second }) => ({ winner: first.length < second.length ? 'first' : 'second' })),
};
testTaskKind(it, pairwiseKind, { task: () => duel(byLength), model });
testSandbox(it, sandbox);
