import { expect, it } from 'vitest';
import { embeddedTask } from './task.js';

it('counts only a marked answer of a completion that has ended, and rewards what the grader calls right', async () => {
  const { grader, rewards } = embeddedTask(1, 2);
  const row = { prompt: [], answer: '66' };
  const judge = async (completion: string, finishReason: 'stop' | 'length' = 'stop') =>
    (await grader.verify([{ prompt: '', completion, row, finishReason }]))[0]!;
  const solution = '47+38=85, 85-19=66 #### 66';
  const verdicts = await Promise.all(
    [solution, '47+38=85, 85-19=66', '#### -66', '#### 066', '#### 66 or 67'].map((completion) => judge(completion)),
  );
  expect(verdicts.slice(0, 3).map(({ answer }) => answer)).toEqual(['66', null, '-66']);
  expect(verdicts.map(({ score }) => score)).toEqual([1, 0, 0, 1, 0]);
  expect(await judge(solution, 'length')).toEqual({ score: 0, answer: null });
  expect(rewards.answer).toBe(grader);
});
