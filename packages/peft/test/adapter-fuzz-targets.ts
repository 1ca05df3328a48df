import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { networkOf, weightStorage } from '@posttrain/lm';
import type { FuzzModule } from '../../../testing/fuzz.js';
import { type AdaptableModel, loadAdapter } from '../src/index.js';

export const fuzzTargets: FuzzModule['fuzzTargets'] = {};
