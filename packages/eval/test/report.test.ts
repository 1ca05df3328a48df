import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  completionExamples,
  evaluate,
  evaluationBlocks,
  type LinePlot,
  renderReport,
  trainingCurves,
  writeReport,
} from '../src/index.js';
import { escapeHtml } from '../src/report/html.js';
import { movingAverage } from '../src/report/svg/line-plot.js';
import { linearScale, logScale } from '../src/report/svg/scale.js';
import { noisyAdder, sumRows, sumTask } from './models.js';

const page = (...blocks: Parameters<typeof renderReport>[0]['sections'][number]['blocks'][number][]) =>
  renderReport({ title: 'T', sections: [{ title: 'S', blocks }] });
const line = (change: Partial<LinePlot>): LinePlot => ({
  type: 'line',
  title: 'P',
  xLabel: 'x',
  yLabel: 'y',
  series: [],
  ...change,
});

describe('escaping', () => {
  it('leaves no character that begins a tag, an entity or ends an attribute, and loses no letter', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const escaped = escapeHtml(text);
        expect(escaped).not.toMatch(/[<>"']/);
        expect(escaped.replace(/&(amp|lt|gt|quot|#39);/g, '')).not.toContain('&');
      }),
    );
    expect(escapeHtml('a<b>&"\'')).toBe('a&lt;b&gt;&amp;&quot;&#39;');
    expect(escapeHtml('ok \u0000\u001b\ud800 👍\n\t')).toBe('ok ��� 👍\n\t');
  });

  it('reaches every place that a name or a text can come from', () => {
    const evil = '<script>"x"</script>';
    const text = renderReport({
      title: evil,
      subtitle: evil,
      sections: [
        {
          title: evil,
          text: evil,
          blocks: [
            { type: 'text', text: evil },
            { type: 'figures', figures: [{ label: evil, value: evil, note: evil }] },
            { type: 'table', caption: evil, rows: [{ [evil]: evil }] },
            line({
              title: evil,
              caption: evil,
              xLabel: evil,
              yLabel: `${evil}y`,
              series: [
                { name: evil, points: [{ x: 1, y: 1, standardError: 1 }] },
                { name: `${evil}2`, points: [] },
              ],
            }),
            {
              type: 'bar',
              title: evil,
              yLabel: evil,
              groups: [evil],
              series: [{ name: evil, values: [{ value: 1 }] }],
            },
            {
              type: 'examples',
              examples: [
                {
                  title: evil,
                  prompt: [{ role: evil, content: evil }],
                  target: evil,
                  completions: [{ text: evil, label: evil }],
                },
              ],
            },
          ],
        },
        { title: evil, blocks: [] },
      ],
    });
    expect(text).not.toContain('<script');
    expect(text.split('&lt;script&gt;').length).toBeGreaterThan(25);
  });
});

describe('plots', () => {
  const circles = (text: string) =>
    [...text.matchAll(/class="marker"[^>]*translate\(([\d.-]+) ([\d.-]+)\)/g)].map((m) => [Number(m[1]), Number(m[2])]);

  it('put points and error bars where the scales say', () => {
    const text = page(
      line({
        series: [
          {
            name: 's',
            points: [
              { x: 0, y: 0 },
              { x: 5, y: 5, standardError: 2 },
              { x: 10, y: 10 },
            ],
          },
        ],
      }),
    );
    const [a, b, c] = circles(text) as [number[], number[], number[]];
    expect(b[0]).toBeCloseTo((a[0]! + c[0]!) / 2, 5);
    expect(b[1]).toBeCloseTo((a[1]! + c[1]!) / 2, 5);
    expect(c[1]).toBeLessThan(a[1]!);
    const perUnit = (a[1]! - c[1]!) / 10;
    const bar = /class="whisker" d="M[\d.]+ ([\d.]+)L[\d.]+ ([\d.]+)M[\d.]+ \1h6M[\d.]+ \2h6"/.exec(text)!;
    expect(Number(bar[1]) - Number(bar[2])).toBeCloseTo(4 * perUnit, 5);
    expect(text).toContain('<title>s: x 5, y 5.0 ± 2.0</title>');
  });

  it('space powers of two evenly on a logarithmic axis', () => {
    const xs = circles(
      page(line({ xScale: 'log', series: [{ name: 's', points: [1, 2, 4, 8].map((x) => ({ x, y: x })) }] })),
    ).map(([x]) => x!);
    const gaps = xs.slice(1).map((x, i) => x - xs[i]!);
    for (const gap of gaps) expect(Math.abs(gap - gaps[0]!)).toBeLessThan(0.21);
    expect(() => page(line({ xScale: 'log', series: [{ name: 's', points: [{ x: 0, y: 1 }] }] }))).toThrow(/above 0/);
  });

  it('leave gaps where a value is missing, and say so', () => {
    const points = [1, 2, Number.NaN, 4, null, 6].map((y, x) => ({ x, y }));
    const text = page(line({ series: [{ name: 's', points }] }));
    expect(text).toContain('2 of 6 values are missing or not finite');
    expect(text.match(/<path class="line"/g)).toHaveLength(3);
    expect(text).not.toMatch(/NaN|Infinity|undefined/);
    expect(page(line({ series: [{ name: 's', points: [] }] }))).toContain('There is nothing to draw.');
  });

  it('draw bars in proportion, below zero as well', () => {
    const text = page({
      type: 'bar',
      title: 'b',
      yLabel: 'v',
      groups: ['g'],
      series: [1, 2, -2].map((value, i) => ({ name: `s${i}`, values: [{ value }] })),
    });
    const [one, two, minus] = [...text.matchAll(/class="bar" x="([\d.]+)"[^>]*?width="([\d.]+)" height="15"/g)].map(
      (m) => ({ x: Number(m[1]), width: Number(m[2]) }),
    );
    expect(two!.width / one!.width).toBeCloseTo(2, 1);
    expect(minus!.width).toBeCloseTo(two!.width, 0);
    expect(minus!.x + minus!.width).toBeCloseTo(one!.x, 0);
  });

  it('have round ticks that enclose the data, whatever the data', () => {
    const magnitude = fc.double({ min: -1e9, max: 1e9, noNaN: true });
    fc.assert(
      fc.property(fc.array(magnitude, { minLength: 1, maxLength: 20 }), (values) => {
        const scale = linearScale(values, 0, 100);
        expect(scale.ticks.length).toBeGreaterThanOrEqual(2);
        expect(scale.ticks.length).toBeLessThanOrEqual(12);
        for (const value of values) {
          expect(scale.position(value)).toBeGreaterThanOrEqual(-1e-6);
          expect(scale.position(value)).toBeLessThanOrEqual(100 + 1e-6);
        }
      }),
    );
    expect(linearScale([0, 1], 0, 100).ticks).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(logScale([1, 2, 16], 0, 100).ticks).toEqual([1, 2, 4, 8, 16]);
    expect(logScale([3, 700], 0, 100).ticks).toEqual([5, 10, 20, 50, 100, 200, 500]);
  });

  it('smooth without lag: a constant and the middle of a straight line stay', () => {
    const straight = Array.from({ length: 101 }, (_, x) => ({ x, y: 2 * x }));
    expect(movingAverage(straight, 0.9)[50]!.y).toBeCloseTo(100, 9);
    for (const { y } of movingAverage(
      straight.map(({ x }) => ({ x, y: 7 })),
      0.9,
    ))
      expect(y).toBeCloseTo(7, 9);
    const noisy = movingAverage(
      [1, 9, null, 1, 9].map((y, x) => ({ x, y })),
      0.5,
    );
    expect(noisy[2]!.y).toBeNull();
    // Weights ½^|t−i| over the points there are: (1·1 + 9/2 + 1/8 + 9/16) / (1 + 1/2 + 1/8 + 1/16).
    expect(noisy[0]!.y).toBeCloseTo(6.1875 / 1.6875, 12);
  });

  it('thin long curves but keep their extremes', () => {
    const points = Array.from({ length: 50_000 }, (_, x) => ({ x, y: x === 33_333 ? 1000 : Math.sin(x) }));
    const text = page(line({ series: [{ name: 's', points }] }));
    const path = /<path class="line" d="([^"]+)"/.exec(text)![1]!;
    expect(path.split('L').length).toBeLessThanOrEqual(1202);
    const heights = [...path.matchAll(/[ML][\d.]+ ([\d.]+)/g)].map((m) => Number(m[1]));
    expect(heights.filter((y) => y < Math.max(...heights) - 100)).toHaveLength(1);
    expect(text).toContain('of 50000 rows');
  });

  it('reject options that do not exist', () => {
    expect(() => page(line({ smothing: 0.5 } as object))).toThrow(
      /plot "P": unknown option "smothing". Did you mean "smoothing"/,
    );
    expect(() => page(line({ smoothing: 1 }))).toThrow(/plot "P": smoothing is 1; it must be a number/);
    expect(() => page(line({ xScale: 'ln' as 'log' }))).toThrow(/xScale is "ln"; it must be one of "linear", "log"/);
  });
});

describe('builders', () => {
  it('trainingCurves: a plot per metric, only where it was logged', () => {
    const curves = trainingCurves([
      { step: 1, loss: 2 },
      { step: 2, loss: Number.NaN, reward: 1 },
    ]);
    expect(curves.map(({ title, series }) => [title, series[0]!.points])).toEqual([
      [
        'loss',
        [
          { x: 1, y: 2 },
          { x: 2, y: Number.NaN },
        ],
      ],
      ['reward', [{ x: 2, y: 1 }]],
    ]);
    expect(() => trainingCurves([], { smooth: 1 } as object)).toThrow(/unknown option "smooth"/);
  });

  it('evaluationBlocks and completionExamples show what was measured', async () => {
    const result = await evaluate(sumTask(sumRows(10)), noisyAdder(0.5));
    const [table, bars] = evaluationBlocks([result], { names: ['mine'] });
    expect(table).toMatchObject({
      rows: [{ model: 'mine', 'pass@1': { value: result.metrics[1]!.value }, problems: 10 }],
    });
    expect(bars).toMatchObject({
      type: 'bar',
      groups: ['mean', 'pass@1', 'pass@4', 'maj@4'],
      series: [{ name: 'mine' }],
    });
    const { examples } = completionExamples(result, { count: 3, completions: 1 });
    expect(examples.map(({ prompt }) => prompt)).toEqual(['0 + 0 =', '4 + 8 =', '7 + 14 =']);
    expect(examples[0]!.completions).toEqual([
      {
        text: result.problems[0]!.completions[0]!.text,
        label: 'Sample 1 of 4',
        score: result.problems[0]!.completions[0]!.grades.exact_match!.score,
      },
    ]);
    expect(completionExamples(result, { count: 50 }).examples).toHaveLength(10);
  });
});

describe('writeReport', () => {
  it('replaces the file at once, or leaves it and no rest behind', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'posttrain-report-'));
    try {
      const file = join(folder, 'deep', 'report.html');
      await writeReport(file, { title: 'one', sections: [] });
      await writeReport(file, { title: 'two', sections: [] });
      expect(readFileSync(file, 'utf8')).toContain('<h1>two</h1>');
      const bad = { title: 'x', sections: [{ title: 's', blocks: [], txt: '' }] };
      await expect(writeReport(file, bad)).rejects.toThrow(/section "s": unknown option "txt". Did you mean "text"/);
      expect(readFileSync(file, 'utf8')).toContain('<h1>two</h1>');
      writeFileSync(join(folder, 'taken'), '');
      await expect(writeReport(join(folder, 'taken', 'report.html'), { title: 'x', sections: [] })).rejects.toThrow();
      await expect(writeReport(join(folder, 'deep'), { title: 'x', sections: [] })).rejects.toThrow();
      expect([...readdirSync(folder), ...readdirSync(join(folder, 'deep'))].sort()).toEqual([
        'deep',
        'report.html',
        'taken',
      ]);
      expect(existsSync(file)).toBe(true);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
