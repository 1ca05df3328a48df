import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ModuleInfo } from '@posttrain/lm';
import { describe, expect, it } from 'vitest';
import { fullMatch, PythonRegex } from '../src/adapters/python-regex.js';
import { checkPatterns, LORA_TARGETS } from '../src/adapters/targets.js';
import { lora, matchTargets, peftMethods, type TargetOptions } from '../src/index.js';

const modules: ModuleInfo[] = [
  'model.embed_tokens',
  ...[0, 1, 10].flatMap((i) =>
    ['self_attn.q_proj', 'self_attn.v_proj', 'mlp.up_proj'].map((name) => `model.layers.${i}.${name}`),
  ),
  'lm_head',
].map((name) => ({
  name,
  kind: name === 'lm_head' ? 'head' : name.endsWith('tokens') ? 'embedding' : 'linear',
  inFeatures: 4,
  outFeatures: 4,
  layer: undefined,
  transposed: false,
}));

const match = (options: Partial<TargetOptions>, modelType = 'llama') =>
  matchTargets(modules, modelType, { ...lora.options.read({}), ...options });
const names = (options: Partial<TargetOptions>) => match(options).matched.map(({ name }) => name);

describe('matchTargets', () => {
  it('takes dotted endings and whole paths, never parts of a name', () => {
    expect(names({ targetModules: ['mlp.up_proj', 'lm_head'] })).toHaveLength(4);
    expect(names({ targetModules: ['model.layers.1.mlp.up_proj'] })).toEqual(['model.layers.1.mlp.up_proj']);
    expect(() => names({ targetModules: ['proj'] })).toThrow(/"proj" matches no module/);
  });

  it('takes a regular expression for the whole path only', () => {
    expect(names({ targetModules: String.raw`.*\.1\..*_proj` })).toHaveLength(3);
    expect(() => names({ targetModules: 'q_proj' })).toThrow(/"q_proj" matches no module path as a whole/);
    expect(() => names({ targetModules: 'q_proj(' })).toThrow(/cannot be used here/);
  });

  it('takes no experts for linear layers, which they are not in transformers 5', () => {
    const expert: ModuleInfo = { ...modules[1]!, name: 'model.layers.0.mlp.experts.0.up_proj' };
    const found = (modelType: string) =>
      matchTargets([...modules, expert], modelType, { ...lora.options.read({}), targetModules: 'all-linear' }).matched;
    expect(found('gpt_oss').some(({ name }) => name === expert.name)).toBe(false);
    expect(found('mixtral').some(({ name }) => name === expert.name)).toBe(true);
    const all = lora.options.read({ targetModules: 'all-linear' });
    expect(() => lora.complete!(all, 'deepseek_v3')).toThrow(/"all-linear" is not known for deepseek_v3/);
    const parameters = lora.options.read({ targetParameters: ['experts.gate_up_proj'] });
    expect(() => lora.complete!(parameters, 'gpt_oss')).toThrow(/targetParameters is not known for gpt_oss/);
    expect(lora.complete!(all, 'olmoe')).toMatchObject({
      targetParameters: ['gate.weight', 'gate_up_proj', 'down_proj'],
    });
  });

  it('takes "all-linear" for everything but embedding and head, and PEFT’s defaults for null', () => {
    expect(names({ targetModules: 'all-linear' })).toHaveLength(9);
    expect(match({ targetModules: 'All-Linear' }).targetModules).toHaveLength(9);
    expect(match({}).targetModules).toEqual(['q_proj', 'v_proj']);
    expect(() => match({}, 'mamba')).toThrow(/no default targets for mamba/);
  });

  const path = join(import.meta.dirname, '../../../goldens/families/targets.json');
  const tables = Object.entries(JSON.parse(readFileSync(path, 'utf8')) as Record<string, Record<string, string[]>>);
  // VB-LoRA and RandLoRA are no layer methods, and LN-tuning's places are no modules; their tables are not to be seen here.
  const seen = tables.filter(([name]) => name in peftMethods && !['VBLORA', 'RANDLORA'].includes(name));
  it.each(seen)('has for %s the defaults of PEFT, for every family that it has some for', (name, byType) => {
    const { defaultTargets = LORA_TARGETS } = peftMethods[name as 'VERA'];
    const types = tables[0]![1];
    // PEFT's list for OSF on Phi names modules that Phi has not.
    const { phi: _, ...osf } = byType;
    const wanted = name === 'OSF' ? osf : byType;
    const own = Object.entries(defaultTargets).filter(([type]) => type in types);
    expect(Object.fromEntries(own)).toEqual(wanted);
  });

  it('says why a module was skipped', () => {
    const { matched, skipped } = match({
      targetModules: ['q_proj', 'up_proj', 'lm_head'],
      excludeModules: ['layers.1.mlp.up_proj'],
      layersToTransform: [1, 10],
      layersPattern: 'layers',
      modulesToSave: ['lm_head'],
    });
    expect(matched.map(({ name }) => name)).toEqual([
      'model.layers.1.self_attn.q_proj',
      'model.layers.10.self_attn.q_proj',
      'model.layers.10.mlp.up_proj',
    ]);
    const reason = (name: string) => skipped.find((module) => module.name === name)?.reason;
    expect(reason('model.layers.1.mlp.up_proj')).toBe('excluded');
    expect(reason('model.layers.0.self_attn.q_proj')).toBe('another layer');
    expect(reason('model.layers.1.self_attn.v_proj')).toBe('not targeted');
    expect(reason('lm_head')).toBe('in modulesToSave');
  });

  it.each([
    [
      { targetModules: ['q_prj'] },
      /"q_prj" matches no module. Did you mean "q_proj"\?.*embed_tokens, q_proj, v_proj, up_proj, lm_head/,
    ],
    [{ targetModules: ['q_proj', 'k_proj'] }, /"k_proj" matches no module/],
    [{ excludeModules: ['o_proj'] }, /excludeModules: "o_proj"/],
    [{ modulesToSave: ['norm'] }, /modulesToSave: "norm"/],
    [{ layersToTransform: 2 }, /no layer 2; there are 0 to 10/],
    [{ layersToTransform: 0, layersPattern: 'h' }, /layersPattern "h" matches no module path/],
    [{ targetModules: '.*q_proj', layersToTransform: 0 }, /needs a list/],
    [{ targetModules: ['q_proj'], excludeModules: '.*' }, /selects no module/],
  ])('%j throws', (options: Partial<TargetOptions>, message: RegExp) => {
    expect(() => match(options)).toThrow(message);
  });
});

describe('fullMatch', () => {
  const golden = join(import.meta.dirname, '../../../goldens/patterns/patterns.json');
  const { texts, cases } = JSON.parse(readFileSync(golden, 'utf8')) as {
    texts: string[];
    cases: [pattern: string, verdict: number[] | string][];
  };
  const compiled = (pattern: string) => {
    const matches = fullMatch(pattern, 'x');
    return texts.map((text) => Number(matches(text)));
  };

  it('matches what re.fullmatch of Python matches, and refuses what is no pattern there', () => {
    const wrong = cases.filter(([pattern, verdict]) => {
      if (typeof verdict !== 'string') return `${compiled(pattern)}` !== `${verdict}`;
      try {
        return compiled(pattern).length > 0;
      } catch (error) {
        return (error as { code?: string }).code !== 'ADAPTER_CONFIG';
      }
    });
    expect(wrong).toEqual([]);
    expect(cases.filter(([, verdict]) => typeof verdict !== 'string').length).toBeGreaterThan(140);
  });

  it.each([
    [String.raw`(?P<kind>q|v)_\w+`, 'v_proj', true],
    ['(?i)Q_PROJ', 'q_proj', true],
    ['q|v', 'vv', false],
    [String.raw`a\\Z`, String.raw`a\Z`, true],
  ])('%s on %s is %s, as in Python', (pattern, text, expected) => {
    expect(fullMatch(pattern, 'x')(text)).toBe(expected);
  });

  it.each(['(?x)a', '(?>a)', 'a++', String.raw`(?P<a>\d)\.(?P=a)`, String.raw`(a)\1`, '(?m)^a'])(
    'refuses %s',
    (pattern) => {
      expect(() => fullMatch(pattern, 'targetModules')).toThrow(/targetModules: the regular expression/);
    },
  );

  const name = 'model.layers.11.self_attn.q_proj';
  it.each([
    '(([a-z._0-9]+)+)+!',
    '(a|a|[a-z._0-9])*!',
    '((.*)*)*!',
    '(.*.*.*.*.*.*)*!',
    '(?=(.*.*)*!)(.*)*!',
    '((?!x.*)(?!y.*).)*!',
  ])('%s takes no more than the product of its size and that of the text', (pattern) => {
    const regex = new PythonRegex(pattern, 'x');
    expect(regex.matches(name.repeat(4))).toBe(false);
    // Look-arounds once at each position.
    expect(regex.steps).toBeLessThan(pattern.length * (4 * name.length) ** (pattern.includes('?') ? 2 : 1) * 4);
  });

  it.each(['(a{1000}){1000}', `${'('.repeat(5000)}a${')'.repeat(5000)}`, 'a'.repeat(20_000), 'a{999999999}'])(
    'refuses a pattern that is too large',
    (pattern) => {
      expect(() => fullMatch(pattern, 'rankPattern')).toThrow(/rankPattern: the regular expression ".{1,130}" cannot/);
    },
  );
});

describe('what selects nothing', () => {
  const targets = modules.filter((module) => module.name.endsWith('q_proj'));
  const check =
    (patterns: unknown, everyEntry = true) =>
    () =>
      checkPatterns(patterns, 'rankPattern', targets, everyEntry);
  it.each<[unknown, RegExp]>([
    [{ 'layers.0.self_attn.q_porj': 8 }, /"layers.0.self_attn.q_porj" matches none.*Did you mean/],
    [{ k_proj: 64 }, /"k_proj" matches none of the modules that the adapter enters/],
    // Of the model, but not of the adapter.
    [{ v_proj: 64 }, /"v_proj" matches none/],
    [{ '^q_proj': 8 }, /matches none/],
    [{ 'layers.7.self_attn.q_proj': 8 }, /matches none/],
    [{ q_proj: 8, up_proj: 4 }, /"up_proj" matches none/],
    [['q_proj'], /must be an object/],
    [null, /must be an object/],
    [{ 'q_(': 2 }, /cannot be used here/],
  ])('%j is refused', (patterns, message) => {
    expect(check(patterns)).toThrow(message);
  });

  it('passes in a file, where PEFT lets it pass', () => {
    expect(check({ k_proj: 64 }, false)).not.toThrow();
    expect(check({ '.*q_proj': 2, 'layers.1.self_attn.q_proj': 4 })).not.toThrow();
  });

  it.each<[Record<string, unknown>, RegExp]>([
    [{ targetModules: ['q_proj', 'q_porj'] }, /"q_porj" matches no module. Did you mean "q_proj"/],
    [{ layersToTransform: [0, 7] }, /there is no layer 7/],
    [{ layersToTransform: [-1] }, /must be indices/],
    [{ layersToTransform: '0' }, /must be indices/],
    [{ layersToTransform: [0], layersPattern: ['layers', 'h'] }, /layersPattern "h" matches no module path/],
    [{ layersToTransform: [0], layersPattern: '(x+x+)+y' }, /layersPattern "\(x\+x\+\)\+y" matches no module path/],
    [{ layersToTransform: [0], layersPattern: [5] }, /layersPattern must be a text/],
    [{ modulesToSave: 'lm_head' }, /modulesToSave must be a list/],
    [{ modulesToSave: [5] }, /modulesToSave must be a list/],
    [{ excludeModules: '(([a-z._0-9]+)+)+!' }, /excludeModules: the regular expression .* matches no module path/],
    [{ targetModules: '(([a-z._0-9]+)+)+!' }, /targetModules: the regular expression .* matches no module path/],
  ])('%j is refused', (options, message) => {
    expect(() => match(options as Partial<TargetOptions>)).toThrow(message);
  });
});
