import { readFileSync } from 'node:fs';
import { parseJsonText, Template } from '@posttrain/interfaces/jinja';
import type { FuzzModule } from '../../../../testing/fuzz.js';

/** Templates and conversations as in `jinja.golden.test.ts`. */
const read = (file: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../../../goldens/chat-templates/${file}`, import.meta.url), 'utf8'));
const families = read('families.json') as {
  readonly templates: Readonly<Record<string, string>>;
  readonly conversations: Readonly<Record<string, string>>;
};
const { statements } = read('expected.json') as {
  readonly statements: readonly (readonly [template: string, text: string | null])[];
};

/** Pieces of Jinja that mutants are given. */
export const dictionary = [
  ...['{%', '%}', '{{', '}}', '{#', '#}', '{%-', '-%}', '+%}', '|', '~', '(', ')', '[', ']', '::', '**', 'x'],
  ...[
    '{% for m in messages %}',
    '{% endfor %}',
    '{% if m %}',
    '{% endif %}',
    '{% raw %}',
    '{% endraw %}',
    '{% macro f() %}',
  ],
  ...[
    '{{ f() }}',
    'loop',
    'loop.last',
    'range(99999)',
    '|tojson',
    '|list',
    '* 99999999',
    '.split()',
    '[::-1]',
    'namespace()',
  ],
  ...[
    '.__class__',
    '.constructor',
    '__proto__',
    ' is ',
    ' in ',
    'caller()',
    '{% set ns.a = ns.a ~ ns.a %}',
    '🍣',
    '\r\n',
  ],
];

const conversations = Object.values(families.conversations).map(
  (text) => parseJsonText(text) as Readonly<Record<string, unknown>>,
);

export const fuzzTargets: FuzzModule['fuzzTargets'] = {
  chatTemplate: {
    corpus: () =>
      [...Object.values(families.templates), statements.map(([template]) => template).join('\n')].map((text) =>
        new TextEncoder().encode(text),
      ),
    run: (mutant, { index }) => {
      const template = new Template(new TextDecoder().decode(mutant));
      template.render(conversations[index % conversations.length]!, { now: new Date(0) });
    },
  },
};
