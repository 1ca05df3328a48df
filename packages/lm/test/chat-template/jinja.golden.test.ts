import { readFileSync } from 'node:fs';
import { JinjaError, parseJsonText, Template } from '@posttrain/interfaces/jinja';
import { describe, expect, it } from 'vitest';

type Row = readonly [template: string, text: string | null];

/** What Jinja2 renders in the environment of transformers; null where Python raises, or would print an address. */
const read = (file: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../../../goldens/chat-templates/${file}`, import.meta.url), 'utf8'));
const golden = read('expected.json') as {
  readonly values: readonly string[];
  readonly expressions: Readonly<Record<string, readonly (string | null)[]>>;
  readonly constants: readonly Row[];
  readonly statements: readonly Row[];
  readonly white_space: readonly Row[];
};
const families = read('families.json') as {
  readonly templates: Readonly<Record<string, string>>;
  readonly conversations: Readonly<Record<string, string>>;
  readonly rendered: Readonly<Record<string, Readonly<Record<string, string | null>>>>;
};

const blocks = read('blocks.json') as {
  readonly templates: readonly Row[];
  readonly variables: Readonly<Record<string, string>>;
};
const random = read('random.json') as { readonly templates: readonly Row[]; readonly variables: string };

/** The text, null for an error, and `REFUSED` for what is refused by name. */
const REFUSED = Symbol('refused by name');
function render(template: string, variables: Readonly<Record<string, unknown>> = {}): string | null | typeof REFUSED {
  try {
    return new Template(template).render(variables, { now: new Date(2026, 0, 5) });
  } catch (error) {
    if (!(error instanceof JinjaError)) throw error;
    return error.kind === 'unsupported' ? REFUSED : null;
  }
}

/** Differences, and what Python renders and we refuse. */
function compare(rows: Iterable<readonly [name: string, ours: string | null | typeof REFUSED, theirs: string | null]>) {
  const wrong: unknown[] = [];
  const refused: string[] = [];
  let count = 0;
  for (const [name, ours, theirs] of rows) {
    count++;
    if (ours === REFUSED) {
      if (theirs !== null) refused.push(name);
    } else if (ours !== theirs) wrong.push({ name, ours, theirs });
  }
  return { wrong, refused: [...new Set(refused)], count };
}

describe('renders what Jinja2 renders, or fails where it fails', () => {
  it('expressions over values of every kind', () => {
    const values = [...golden.values.map((text) => ({ x: parseJsonText(text) })), {}];
    const rows = Object.entries(golden.expressions).flatMap(([expression, results]) =>
      results.map((result, i) => {
        const name = `${expression} of ${golden.values[i] ?? 'undefined'}`;
        return [name, render(`{{ ${expression} }}`, values[i]), result] as const;
      }),
    );
    const { wrong, refused, count } = compare(rows);
    expect(wrong).toEqual([]);
    expect(count).toBeGreaterThan(3500);
    expect(refused.map((name) => name.split(' of ')[0])).toEqual(['x.casefold()']);
  });

  it.each(['constants', 'statements', 'white_space'] as const)('%s', (kind) => {
    const { wrong, refused, count } = compare(
      golden[kind].map(([template, text]) => [template, render(template), text]),
    );
    expect(wrong).toEqual([]);
    expect(count).toBeGreaterThan(100);
    expect(refused).toEqual([]);
  });

  it('blocks, which see what has been set so far', () => {
    const rows = blocks.templates.map(
      ([template, text]) => [template, render(template, blocks.variables), text] as const,
    );
    expect(compare(rows)).toEqual({ wrong: [], refused: [], count: 27 });
    expect(rows[0]).toEqual(['{% block a %}[{{ x }}]{% endblock %}{% set x = 1 %}{{ x }}', '[X]1', '[X]1']);
  });

  it('random templates of what chat templates use', () => {
    const variables = parseJsonText(random.variables) as Record<string, unknown>;
    const { wrong, count } = compare(
      random.templates.map(([template, text]) => [template, render(template, variables), text]),
    );
    expect(wrong).toEqual([]);
    expect(count).toBe(180);
  });

  it('whole templates in the manner of well-known families', () => {
    const rows = Object.entries(families.rendered).flatMap(([template, results]) =>
      Object.entries(results).map(([conversation, text]) => {
        const variables = parseJsonText(families.conversations[conversation]!) as Record<string, unknown>;
        return [`${template}, ${conversation}`, render(families.templates[template]!, variables), text] as const;
      }),
    );
    expect(compare(rows)).toMatchObject({ wrong: [], refused: [], count: 40 });
  });
});
