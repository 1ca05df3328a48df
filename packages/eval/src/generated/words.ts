import type { Random } from '@posttrain/interfaces/random';

const ADJECTIVES =
  `amber bright broken calm clever cold curious deep distant dusty early eager empty faint fancy fast fierce final fragile
frozen gentle giant golden grand green happy heavy hidden hollow honest humble icy jolly keen kind late lazy light little lonely long loose loud
lucky mellow merry mild misty modest narrow neat noble odd old pale patient plain polite proud quick quiet rapid rare raw ready rough round royal
rusty sharp shiny short shy silent silver simple sleepy slim slow small smooth soft solid sour spare steady steep still strange strong sunny sweet
swift tall tame tender thick thin tidy tiny tough vast warm weak weary wide wild wise young`.split(/\s+/);
const NOUNS =
  `acorn anchor apple arrow badge bakery barrel basket beacon bell bench bottle branch bridge brook broom bucket button cabin camera
candle canoe carpet castle cedar chain chapel cherry circle cliff clock cloud coat cobweb comet compass copper corner cottage cradle crane creek
crown curtain desk dial ditch dock drum eagle engine fabric falcon feather fence fiddle field flame flask flute forest fountain fox garden gate
glacier globe glove grape hammer harbor harp hawk hedge helmet hill honey horn island ivory jacket jar kettle kite ladder lake lamp lantern leaf
lemon lentil library lighthouse lock lodge loom maple marble market meadow medal mill mirror moon moss mountain needle nest oak oar ocean olive
orchard otter owl paddle palace paper parcel path pearl pebble pencil piano pillow pine planet plum pocket pond porch potter prism quarry quill
raft rail raven ribbon river rocket roof root rope saddle sail salt scarf shell shelf shovel spade spoon spring square stable star statue stone
stove street stream sugar table tailor temple thread tower train tunnel valley velvet village violin wagon wall well wheel willow window wing
winter wolf yarn`.split(/\s+/);
const SYLLABLES = [...'bdfgklmnprstvz'].flatMap((consonant) => [...'aeiou'].map((vowel) => consonant + vowel));

const PEOPLE =
  `A traveller|The miller|An old teacher|The captain|A young painter|The gardener|A quiet clerk|The baker|Her brother|A neighbour|The
doctor|A student|The carpenter|An engineer|The librarian|His aunt`
    .replace(/\n/g, ' ')
    .split('|');
const ACTS =
  `walked along|wrote about|looked after|remembered|drew a map of|spoke kindly of|searched for|worked near|waited beside|read a story
about|told the children about|repaired|measured|sold|found|described`
    .replace(/\n/g, ' ')
    .split('|');
const TIMES =
  `in the early morning|before the rain began|on the last day of summer|while the others slept|after a long supper|for most of the
winter|without much hope|as everybody had expected|with great care|and thought no more of it|until the lamps were lit|for the second time`
    .replace(/\n/g, ' ')
    .split('|');

/** A key of two words, such as `quiet-harbor`. */
export const keyWord = (random: Random): string => `${random.pick(ADJECTIVES)}-${random.pick(NOUNS)}`;

/** Two words that name a thing. */
export const thing = (random: Random): string => `${random.pick(ADJECTIVES)} ${random.pick(NOUNS)}`;

/** A sentence of prose that says nothing: what needles are hidden in where nobody gives a text of their own. */
export const fillerSentence = (random: Random): string =>
  `${random.pick(PEOPLE)} ${random.pick(ACTS)} the ${thing(random)} ${random.pick(TIMES)}.`;

/** Different words of three syllables that mean nothing. */
export function madeUpWords(random: Random, count: number): string[] {
  const words = new Set<string>();
  while (words.size < count) words.add(Array.from({ length: 3 }, () => random.pick(SYLLABLES)).join(''));
  return [...words];
}

/** A name: a made-up word, capitalised. */
export function madeUpName(random: Random): string {
  const [word] = madeUpWords(random, 1);
  return word![0]!.toUpperCase() + word!.slice(1);
}

/** As many digits as 7, as text. */
export const sevenDigits = (random: Random): string => String(random.integer(1_000_000, 9_999_999));

/** A random UUID of version 4. */
export function uuid(random: Random): string {
  const bytes = Array.from({ length: 16 }, () => random.integer(0, 255));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const text = bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return [0, 8, 12, 16, 20].map((start, i, starts) => text.slice(start, starts[i + 1])).join('-');
}

/** Sentences of a text: pieces that end in `.`, `!` or `?` before white space. */
export const sentencesOf = (text: string): string[] =>
  text
    .split(/(?<=[.!?])\s+/)
    .map((sentence) => sentence.trim())
    .filter((sentence) => sentence !== '');
