import { describe, expect, it } from 'vitest';
import {
  createProgress,
  evaluate,
  formatMeasured,
  formatNumber,
  formatSeconds,
  metricsTable,
  renderTable,
} from '../src/index.js';
import { displayWidth } from '../src/terminal/width.js';
import { noisyAdder, sumRows, sumTask } from './models.js';

describe('numbers', () => {
  it.each([
    [0, '0'],
    [1234567, '1\u2009234\u2009567'],
    [-12, '−12'],
    [0.123456, '0.1235'],
    [1e-5, '1.00e-5'],
    [12345.678, '12350'],
    [Number.NaN, 'NaN'],
    [Number.NEGATIVE_INFINITY, '−∞'],
  ])('formatNumber(%j) is %j', (value, text) => expect(formatNumber(value)).toBe(text));

  it.each([
    [{ value: 0.6123, standardError: 0.0141 }, 'percent', '61.2', '± 1.4 %'],
    [{ value: 0.6123, standardError: null }, 'percent', '61.2 %', ''],
    [{ value: 12.3456, standardError: 0.0347 }, 'number', '12.346', '± 0.035'],
    [{ value: 1234.5, standardError: 250 }, 'number', '1235', '± 250'],
    [{ value: null }, 'number', '–', ''],
  ] as const)('formatMeasured(%j, %s) is %s %s', (measured, format, value, error) => {
    expect(formatMeasured(measured, format)).toEqual({ value, error });
  });

  it.each([
    [0.25, '250 ms'],
    [12.4, '12 s'],
    [59.7, '1 min 00 s'],
    [185, '3 min 05 s'],
    [7800, '2 h 10 min'],
  ])('formatSeconds(%d) is %s', (seconds, text) => {
    expect(formatSeconds(seconds)).toBe(text);
  });
});

describe('renderTable', () => {
  it('aligns numbers, standard errors and wide characters', () => {
    const text = renderTable(
      [
        { model: 'base', 'pass@1': { value: 0.0512, standardError: 0.0061 }, tokens: 950 },
        { model: '日本', 'pass@1': { value: 0.612, standardError: 0.114 }, tokens: 12000 },
        { model: 'none', 'pass@1': null, tokens: undefined },
      ],
      { title: 'Result', columns: ['model', { key: 'pass@1', format: 'percent' }, { key: 'tokens', title: 'Tokens' }] },
    );
    expect(text.split('\n')).toEqual([
      'Result',
      '',
      'model          pass@1   Tokens',
      '──────────────────────────────',
      'base     5.1 ±  0.6 %      950',
      '日本    61.2 ± 11.4 %   12\u2009000',
      'none       –                 –',
    ]);
    const widths = text.split('\n').slice(2).map(displayWidth);
    expect(new Set(widths).size).toBe(1);
  });

  it('shows runs side by side', async () => {
    const weak = await evaluate(sumTask(sumRows(20), 2), noisyAdder(0.7));
    const strong = await evaluate(sumTask(sumRows(20), 2), noisyAdder(0.2));
    const { rows, columns } = metricsTable([weak, strong], { names: ['base', 'tuned'] });
    const lines = renderTable(rows, { columns }).split('\n');
    expect(lines[0]!.trim().split(/\s{2,}/)).toEqual(['model', 'mean', 'pass@1', 'pass@2', 'maj@2', 'problems']);
    expect(lines[2]).toMatch(/^base +\d+\.\d ± +\d+\.\d %/);
    expect(lines).toHaveLength(4);
  });

  it('of nothing is a heading', () => {
    expect(renderTable([], { columns: ['a', 'b'] })).toBe('a   b\n─────');
    expect(() => renderTable([], { column: ['a'] } as object)).toThrow(/Did you mean "columns"/);
  });
});

describe('createProgress', () => {
  function recorder(isTTY: boolean, columns = 80) {
    let text = '';
    let time = 0;
    const stream = {
      isTTY,
      columns,
      write: (part: string) => {
        text += part;
      },
    };
    const progress = createProgress({ stream, now: () => time, lineSeconds: 10 });
    return {
      ...progress,
      text: () => text,
      at: (seconds: number) => {
        time = seconds * 1000;
      },
    };
  }

  it('redraws one bar in a terminal, never wider than it', () => {
    const p = recorder(true, 60);
    p.onProgress({ stage: 'eval', done: 0, total: 200 });
    p.at(1);
    p.onProgress({
      stage: 'eval',
      done: 100,
      total: 200,
      etaSeconds: 61,
      metrics: { reward: 0.51234, 'a very long metric name': 1 },
    });
    p.finish();
    const frames = p.text().split('\r\u001b[2K').slice(1);
    expect(frames[0]).toBe('eval  ░░░░░░░░░░░░░░░░░░░░░░░░  0 %  0/200');
    expect(frames[1]).toContain('████████████░░░░░░░░░░░░  50 %  100/200  eta 1 min');
    expect(frames[1]!.endsWith('…\n')).toBe(true);
    for (const frame of frames) expect(displayWidth(frame.trimEnd())).toBeLessThanOrEqual(59);
  });

  it('does not redraw faster than one can see, but always shows the end', () => {
    const p = recorder(true);
    for (let done = 0; done <= 1000; done++) {
      p.at(done / 1000);
      p.onProgress({ stage: 'sft', done, total: 1000 });
    }
    p.finish();
    const frames = p.text().split('\r\u001b[2K').slice(1);
    expect(frames.length).toBeLessThan(20);
    expect(frames.at(-1)).toBe('sft  ████████████████████████  100 %  1\u2009000/1\u2009000\n');
  });

  it('writes plain lines where there is no terminal: begin, every ten seconds, end', () => {
    const p = recorder(false);
    for (let second = 0; second <= 25; second++) {
      p.at(second);
      p.onProgress({ stage: 'grpo', done: second, total: 25, etaSeconds: 25 - second });
    }
    p.onProgress({ stage: 'eval', done: 3 });
    p.at(26);
    p.onProgress({ stage: 'eval', done: 4 });
    p.finish();
    expect(p.text().split('\n')).toEqual([
      'grpo: 0 %  0/25  eta 25 s',
      'grpo: 40 %  10/25  eta 15 s',
      'grpo: 80 %  20/25  eta 5 s',
      'grpo: 100 %  25/25',
      'eval: 3 done',
      'eval: 4 done',
      '',
    ]);
    expect(p.text()).not.toContain('\u001b');
  });

  it('goes to the next line when the stage changes, and finishes once', () => {
    const p = recorder(true);
    p.onProgress({ stage: 'a', done: 1, total: 1 });
    p.onProgress({ stage: 'b', done: 1, total: 1 });
    p.finish();
    p.finish();
    expect(p.text().match(/\n/g)).toHaveLength(2);
  });
});
