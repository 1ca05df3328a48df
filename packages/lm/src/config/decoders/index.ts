import type { DecoderType } from '../decoder-config.js';
import type { DecoderFamily } from '../decoder-family.js';
import { bloom } from './bloom.js';
import { cohere, cohere2 } from './cohere.js';
import { deepseekV2, deepseekV3 } from './deepseek.js';
import { exaone4 } from './exaone4.js';
import { falcon } from './falcon.js';
import { falconH1 } from './falcon-h1.js';
import { gemma } from './gemma.js';
import { glm, glm4 } from './glm.js';
import { gptNeox } from './gpt-neox.js';
import { gptOss } from './gpt-oss.js';
import { granite } from './granite.js';
import { graniteMoe } from './granite-moe.js';
import { internlm3 } from './internlm3.js';
import { lfm2 } from './lfm2.js';
import { mamba2 } from './mamba2.js';
import { minicpm3 } from './minicpm3.js';
import { ministral, ministral3 } from './ministral.js';
import { olmo } from './olmo.js';
import { olmo3 } from './olmo3.js';
import { olmoe } from './olmoe.js';
import { opt } from './opt.js';
import { phi } from './phi.js';
import { phimoe } from './phimoe.js';
import { qwen2Moe } from './qwen2-moe.js';
import { qwen3Next, qwen35Moe, qwen35Text } from './qwen3-next.js';
import { smollm3 } from './smollm3.js';
import { stablelm } from './stablelm.js';
import { starcoder2 } from './starcoder2.js';

/** The families that are what they say over one decoder, by `model_type`. */
export const DECODERS: Readonly<Record<DecoderType, DecoderFamily>> = {
  ...{ smollm3, gemma, granite, glm, glm4, olmo, olmo3, cohere, cohere2, stablelm, starcoder2, ministral, ministral3 },
  ...{ exaone4, internlm3, phi, gpt_neox: gptNeox, falcon, opt, bloom },
  ...{ qwen2_moe: qwen2Moe, olmoe, granitemoe: graniteMoe, phimoe, gpt_oss: gptOss },
  ...{ deepseek_v2: deepseekV2, deepseek_v3: deepseekV3, minicpm3, lfm2 },
  ...{ mamba2, falcon_h1: falconH1 },
  ...{ qwen3_next: qwen3Next, qwen3_5_text: qwen35Text, qwen3_5_moe_text: qwen35Moe },
};
