import { currentEngine, type Engine } from '@posttrain/core-tensor';
import type { EncoderConfig } from '../config/index.js';
import { bertNetwork } from './bert.js';
import type { EncoderNetwork } from './encoder-network.js';
import { modernBertNetwork } from './modernbert.js';

/** The network of an encoder's config. */
export const encoderNetwork = (config: EncoderConfig, engine: Engine = currentEngine()): EncoderNetwork =>
  config.modelType === 'modernbert' ? modernBertNetwork(config, engine) : bertNetwork(config, engine);
