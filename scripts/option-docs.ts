// Tables of options from their declarations: types, defaults and what they decide from the values, the rest from the comments.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import type { OptionShape } from '../packages/interfaces/src/index.js';
import { type MethodOptions, peftMethods } from '../packages/peft/src/index.js';
import {
  DPO_TRL_NAMES,
  dpoOptions,
  POLICY_TRL_NAMES,
  POLICY_TRL_REMARKS,
  policyOptions,
} from '../packages/rl/src/index.js';
import {
  DISTILL_TRL_NAMES,
  distillOptions,
  REWARD_MODEL_TRL_NAMES,
  rewardModelOptions,
  runShape,
  sftOptions,
  stepByStepOptions,
  TRL_NAMES,
  TRL_REMARKS,
  trainingShape,
} from '../packages/training/src/index.js';
import { root } from './workspace.js';

/**
 * The comments above the properties of a file, by name. A property that is a constant has that one's where it has none.
 *
 * @param ofConstants those of files that were read before; the file's own are added
 */
function commentsIn(file: string, ofConstants: Map<string, string>): Map<string, string> {
  const source = ts.createSourceFile(file, readFileSync(join(root, file), 'utf8'), ts.ScriptTarget.Latest, true);
  const found = new Map<string, string>();
  const textOf = (node: ts.Node): string | undefined => {
    const [comment] = ts.getJSDocCommentsAndTags(node);
    const text = comment && ts.isJSDoc(comment) ? ts.getTextOfJSDocComment(comment.comment) : undefined;
    return text?.replaceAll(/\s+/g, ' ').trim() || undefined;
  };
  const visit = (node: ts.Node): void => {
    if (ts.isVariableDeclaration(node)) {
      const text = textOf(node);
      if (text) ofConstants.set(node.name.getText(source), text);
    }
    if (ts.isPropertyAssignment(node)) {
      const text = textOf(node) ?? ofConstants.get(node.initializer.getText(source));
      if (text) found.set(node.name.getText(source), text);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

const without = (shape: OptionShape, other: OptionShape): OptionShape =>
  Object.fromEntries(Object.entries(shape).filter(([name]) => !Object.hasOwn(other, name)));

const RUN = 'packages/training/src/run/run-options.ts';
const TRAINING = ['packages/training/src/trainer/trainer-options.ts', 'packages/training/src/run/training-options.ts'];

/** The tables of docs/running.md: what is in them, and the files that declare it, the last one first to be believed. */
const TABLES: Readonly<Record<string, { readonly shape: OptionShape; readonly files: readonly string[] }>> = {
  run: { shape: runShape, files: [RUN] },
  training: { shape: without(trainingShape, runShape), files: TRAINING },
  sft: {
    shape: without(sftOptions.shape, trainingShape),
    files: ['packages/training/src/sft/sft-options.ts', 'packages/training/src/trainer/trainer-options.ts'],
  },
  trainRewardModel: {
    shape: { ...without(rewardModelOptions.shape, trainingShape), model: rewardModelOptions.shape.model },
    files: ['packages/training/src/reward-model/reward-model-options.ts'],
  },
  distill: {
    shape: without(distillOptions.shape, trainingShape),
    files: ['packages/training/src/distillation/distill-options.ts'],
  },
  distillStepByStep: {
    shape: without(stepByStepOptions.shape, trainingShape),
    files: ['packages/training/src/distillation/step-by-step.ts'],
  },
  dpo: { shape: without(dpoOptions.shape, trainingShape), files: ['packages/rl/src/training/dpo-options.ts'] },
  trainPolicy: {
    shape: without(policyOptions.shape, trainingShape),
    files: ['packages/rl/src/training/policy-options.ts'],
  },
};

/** What of the options that no declaration calls decisive must be the same in a resumed run nevertheless. */
const ALSO_DECISIVE: Readonly<Record<string, string>> = {
  ...{ model: 'its content', teacher: 'its content', rows: 'their content', reference: 'its content' },
  ...{ epochs: 'the steps', maxTokensPerPass: 'with dropout' },
  ...Object.fromEntries(
    ['evaluate', 'evaluateEvery', 'evaluateOnStart', 'evaluationRows'].map((name) => [
      name,
      'with `keepBest` or `patience`',
    ]),
  ),
};

/** A default as it is written, where that is short. */
function written(value: unknown): string | undefined {
  if (typeof value === 'number') return value !== 0 && value < 1e-3 ? value.toExponential() : String(value);
  if (typeof value === 'string' && value.includes('\n')) return JSON.stringify(value);
  return typeof value === 'string' || typeof value === 'boolean' ? String(value) : undefined;
}

const cell = (text: string): string => text.replaceAll('|', '\\|');

/** One line for each option. @throws Error for one without a comment */
export function tableOf({ shape, files }: (typeof TABLES)[string], withDecisive = true): string {
  const constants = new Map<string, string>();
  const comments = new Map(files.flatMap((file) => [...commentsIn(file, constants)]));
  const lines = Object.entries(shape).map(([name, { presence, default: fallback, expects, decisive }]) => {
    const comment = comments.get(name);
    if (comment === undefined) throw new Error(`the option ${name} has no comment in ${files.join(', ')}`);
    const value = written(fallback);
    const said = /\s?Default:? (.*?)\.(?= |$)/.exec(comment);
    const isRepeated = new RegExp(`\\s?Default \`?${value?.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}\`?\\.(?= |$)`);
    const shown = value === undefined ? (said?.[1] ?? (presence === 'required' ? 'required' : '')) : `\`${value}\``;
    const text = value === undefined ? comment.replace(said?.[0] ?? '', '') : comment.replace(isRepeated, '');
    const decides = withDecisive ? ` ${decisive ? 'yes' : (ALSO_DECISIVE[name] ?? '')} |` : '';
    return `| \`${name}\` | ${cell(expects)} | ${cell(shown)} |${decides} ${cell(text.trim())} |`;
  });
  const head = withDecisive
    ? '| option | must be | default | decides the result | what |\n| --- | --- | --- | --- | --- |'
    : '| option | must be | default | what |\n| --- | --- | --- | --- |';
  return `${head}\n${lines.join('\n')}`;
}

/** docs/running.md with its tables as the declarations have them: between `<!-- options NAME -->` and `<!-- end -->`. */
export function renderRunning(markdown: string): string {
  const seen = new Set<string>();
  const rendered = markdown.replaceAll(/<!-- options (\w+) -->\n.*?<!-- end -->/gs, (_, name: string) => {
    seen.add(name);
    const table = TABLES[name];
    if (!table) throw new Error(`there is no table ${name}; there are ${Object.keys(TABLES).join(', ')}`);
    return `<!-- options ${name} -->\n${tableOf(table)}\n<!-- end -->`;
  });
  const missing = Object.keys(TABLES).filter((name) => !seen.has(name));
  if (missing.length > 0) throw new Error(`docs/running.md lacks the tables ${missing.join(', ')}`);
  return rendered;
}

const TRAINERS = [
  { name: 'sft', shape: sftOptions.shape as OptionShape, names: TRL_NAMES },
  {
    name: 'trainRewardModel',
    shape: rewardModelOptions.shape as OptionShape,
    names: { ...TRL_NAMES, ...REWARD_MODEL_TRL_NAMES },
  },
  { name: 'distill', shape: distillOptions.shape as OptionShape, names: { ...TRL_NAMES, ...DISTILL_TRL_NAMES } },
  { name: 'dpo', shape: dpoOptions.shape as OptionShape, names: { ...TRL_NAMES, ...DPO_TRL_NAMES } },
  { name: 'trainPolicy', shape: policyOptions.shape as OptionShape, names: { ...TRL_NAMES, ...POLICY_TRL_NAMES } },
] as const;

/** docs/trl-names.md. */
export function renderTrlNames(): string {
  const all = [...new Set(TRAINERS.flatMap(({ names }) => Object.keys(names)))];
  const lines = all.map((theirs) => {
    const ours = new Map<string, string[]>();
    for (const { name, shape, names } of TRAINERS) {
      const option = (names as Readonly<Record<string, string>>)[theirs];
      if (option === undefined || !Object.hasOwn(shape, option)) continue;
      ours.set(option, [...(ours.get(option) ?? []), name]);
    }
    const cells = [...ours].map(([option, trainers]) => {
      return trainers.length === TRAINERS.length ? `\`${option}\`` : `\`${option}\` (${trainers.join(', ')})`;
    });
    return `| \`${theirs}\` | ${cells.join(', ')} |`;
  });
  const remarks = [
    ...Object.entries(TRL_REMARKS).map(([theirs, remark]) => `| \`${theirs}\` | ${cell(remark)} |`),
    ...Object.entries(POLICY_TRL_REMARKS).map(([theirs, remark]) => `| \`${theirs}\` | trainPolicy: ${cell(remark)} |`),
  ];
  return `# TRL's option names, and ours

<!-- Rendered by scripts/render-option-docs.ts; change packages/training/src/run/trl-names.ts. -->

Options of TRL 1.16 and transformers beside those of \`sft\`, \`trainRewardModel\`, \`distill\`, \`dpo\` and
\`trainPolicy\`; the [tables of options](running.md#options) say what they do. Somebody who gives one of theirs, in
snake or camel case, gets an error that says what this page says. What
\`objective\` and \`loss\` take are options of \`policyObjectives.grpo({ … })\` and \`preferenceLosses.sigmoid({ … })\`, with TRL's names in
camel case.

| TRL, transformers | here |
| --- | --- |
${lines.join('\n')}

## Without one of the same meaning

| TRL, transformers | instead |
| --- | --- |
${remarks.join('\n')}
`;
}

const PEFT = 'packages/peft/src';

/** Files of `packages/peft/src/methods` that declare the options of a method, its own last, by `peft_type`. */
const METHOD_FILES: Readonly<Record<keyof typeof peftMethods, readonly string[]>> = {
  LORA: ['lora-start', 'lora'],
  ADALORA: ['lora-start', 'lora', 'adalora'],
  VERA: ['vera'],
  IA3: ['ia3'],
  OFT: ['oft'],
  BOFT: ['boft'],
  HRA: ['hra'],
  LOHA: ['loha'],
  LOKR: ['loha', 'lokr'],
  MISS: ['miss'],
  ROAD: ['road'],
  C3A: ['c3a'],
  FOURIERFT: ['fourierft'],
  WAVEFT: ['waveft'],
  RANDLORA: ['randlora'],
  SHIRA: ['shira'],
  VBLORA: ['vb-lora'],
  TINYLORA: ['tinylora'],
  OSF: ['osf'],
  LN_TUNING: ['ln-tuning'],
  PROMPT_TUNING: ['prompt-learning', 'prompt-tuning'],
  MULTITASK_PROMPT_TUNING: ['prompt-learning', 'multitask-prompt-tuning'],
  PREFIX_TUNING: ['prompt-learning', 'prefix-tuning'],
  P_TUNING: ['prompt-learning', 'p-tuning'],
  CPT: ['cpt'],
  XLORA: ['lora-experts', 'xlora'],
  POLY: ['poly'],
  HOULSBY: ['houlsby'],
  BITFIT: ['bitfit'],
  LOREFT: ['loreft'],
  CURLORA: ['curlora'],
  LORA_XS: ['lora-xs'],
  MOLE: ['lora-experts', 'mole'],
};

/** docs/peft/methods.md. */
export function renderPeftMethods(): string {
  const sections = Object.entries(METHOD_FILES).map(([type, names]) => {
    const { options } = peftMethods[type as keyof typeof peftMethods] as { readonly options: MethodOptions<object> };
    const shared = ['method-options', 'trainable-tokens'].map((name) => `${PEFT}/adapters/${name}.ts`);
    const files = [...shared, ...names.map((name) => `${PEFT}/methods/${name}.ts`)];
    return `## ${type}\n\n${tableOf({ shape: options.shape, files }, false)}`;
  });
  return `# Options of PEFT methods

<!-- Rendered by scripts/render-option-docs.ts from the declarations in packages/peft/src/methods. -->

By \`peft_type\`. Names are PEFT's in camel case, and defaults are PEFT 0.21.2's; in files they have PEFT's own names
(\`lora_alpha\`). All of them decide what an adapter computes, and are part of the identity of a run.

${sections.join('\n\n')}
`;
}

const CLI = 'packages/cli/src/training';

/** What the commands make of texts, each with the table of docs/running.md that has the others of its trainer. */
const COMMANDS: Readonly<Record<string, string>> = {
  sft: 'sft',
  prefer: 'dpo',
  reward: 'trainRewardModel',
  distill: 'distill',
  policy: 'trainPolicy',
};

/** Commands whose options are all their own. */
const OTHER_COMMANDS = ['chat', 'data', 'generate', 'merge', 'page', 'quantize', 'search', 'watch'];
/** What some of them share. */
const SHARED_OPTIONS: Readonly<Record<string, string>> = {
  page: 'packages/cli/src/page/run-options.ts',
  watch: 'packages/cli/src/page/run-options.ts',
};

/** packages/cli/src/options/descriptions.ts: the comments above declared options, for `--help` of what is published. */
export function renderDescriptions(): string {
  const constants = new Map<string, string>();
  const comments = (files: readonly string[]) => new Map(files.flatMap((file) => [...commentsIn(file, constants)]));
  const declared = ['run', 'training', ...Object.values(COMMANDS)].map((table) => {
    const { shape, files } = TABLES[table]!;
    const found = comments(files);
    return [table, Object.keys(shape).map((name) => [name, found.get(name)] as const)] as const;
  });
  const made = [
    ['command', 'made-options'] as const,
    ...Object.keys(COMMANDS).map((name) => [`${name}-command`, `${name}-command`] as const),
  ].map(([table, file]) => [table, [...commentsIn(`${CLI}/${file}.ts`, new Map())]] as const);
  const others = OTHER_COMMANDS.map((name) => {
    const files = [SHARED_OPTIONS[name] ?? [], `packages/cli/src/commands/${name}-command.ts`].flat();
    return [`${name}-command`, files.flatMap((file) => [...commentsIn(file, new Map())])] as const;
  });
  const text = (value: string) => JSON.stringify(value.replaceAll('`', ''));
  const key = (name: string) => (/^\w+$/.test(name) ? name : `'${name}'`);
  const tables = [...declared, ...made, ...others].map(([table, entries]) => {
    const lines = entries.flatMap(([name, said]) => (said === undefined ? [] : [`    ${key(name)}: ${text(said)},`]));
    return `  ${key(table)}: {\n${lines.join('\n')}\n  },`;
  });
  return `// Rendered by scripts/render-option-docs.ts from the comments above the declarations.
// biome-ignore-all format: one option a line.

/** What options say of themselves, by the table that they are in. */
export const DESCRIPTIONS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
${tables.join('\n')}
};
`;
}
