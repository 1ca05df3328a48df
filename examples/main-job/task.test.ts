import { expect, it } from 'vitest';
import { embeddedTask } from './task.js';

it('counts only a marked answer, and rewards what the grader calls right', async () => {
  const { answerOf, grader, rewards } = embeddedTask(1, 2);
  const solution = '47+38=85, 85-19=66 #### 66';
  expect([solution, '47+38=85, 85-19=66', '#### -66'].map(answerOf)).toEqual(['66', null, '-66']);
  for (const completion of [solution, '47+38=85, 85-19=66', '#### -66', '#### 066', '#### 66 or 67']) {
    const row = { prompt: [], answer: '66' };
    const [grade] = await grader.verify([{ prompt: '', completion, row }]);
    const context = { row, finishReason: 'stop' } as never;
    expect((rewards.answer as (text: string, given: never) => number)(completion, context)).toBe(grade!.score);
  }
});
