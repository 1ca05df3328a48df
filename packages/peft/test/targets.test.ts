import type { ModuleInfo } from '@posttrain/lm';
import { describe, expect, it } from 'vitest';
import { fullMatch } from '../src/adapters/python-regex.js';
import { lora, matchTargets, type TargetOptions } from '../src/index.js';

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
  matchTargets(modules, modelType, { ...lora.defaults, ...options });
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

  it('takes "all-linear" for everything but embedding and head, and PEFT’s defaults for null', () => {
    expect(names({ targetModules: 'all-linear' })).toHaveLength(9);
    expect(match({ targetModules: 'All-Linear' }).targetModules).toHaveLength(9);
    expect(match({}).targetModules).toEqual(['q_proj', 'v_proj']);
    expect(() => match({}, 'mamba')).toThrow(/no default targets for mamba/);
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
  it.each([
    [String.raw`(?P<kind>q|v)_\w+`, 'v_proj', true],
    [String.raw`\Aq_proj\Z`, 'q_proj', true],
    ['(?i)Q_PROJ', 'q_proj', true],
    [String.raw`(?P<a>\d)\.(?P=a)`, '1.1', true],
    [String.raw`(?P<a>\d)\.(?P=a)`, '1.2', false],
    ['q|v', 'vv', false],
    [String.raw`a\\Z`, String.raw`a\Z`, true],
  ])('%s on %s is %s, as in Python', (pattern, text, expected) => {
    expect(fullMatch(pattern, 'x')(text)).toBe(expected);
  });

  it.each(['(?x)a', '(?>a)', 'a++'])('refuses %s', (pattern) => {
    expect(() => fullMatch(pattern, 'targetModules')).toThrow(/targetModules: the regular expression/);
  });
});
