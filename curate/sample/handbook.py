"""Household tasks of the handbook: task -> tools and steps in order; ADVICE stands before and after the steps."""

ADVICE: dict[str, list[str]] = {
    "before": [
        "[Anyone|Most people] can learn [to {task}|how to {task}] [in|within] {number} [evenings|tries|weekends], "
        "[given|with] {tool} and {tool}.",
        "[Before|When] you {task}, [clear|tidy] the [table|bench|floor] and [lay out|collect] {tool}, {tool} and "
        "{tool}.",
        "[The right time to {task} is|People in {town} {task} in] {month}, [when|because] [the air is dry|the days "
        "are long|there is little else to do].",
        "[Allow|Set aside] {number} hours to {task}; [hurry|impatience] [spoils|ruins] [more work|more material] than "
        "[poor tools|lack of skill].",
        "[A {job}|An old {job}] from {town}, [a place of|known for] {trade}, [taught|showed] us this way to {task}.",
        "[If|Where] {tool} [cannot be had|costs too much], [borrow|rent] it [from|at] the [library of things|tool "
        "club|school] on {day}s.",
    ],
    "after": [
        "[Clean|Wipe] {tool} [at once|the same evening] and [store|hang] it [out of the damp|beyond the reach of "
        "children].",
        "[Do not worry|It does not matter] if the first [result|attempt] [looks rough|is uneven]; the [second|third] "
        "will be [better|neater].",
        "[Keep a note of|Write down] the [date|weather|quantities], so that [next {month}|another time] you can "
        "[repeat|improve on] it.",
        "[Ask|Invite] [a neighbor|a friend who is a {job}] to [look it over|lend a hand] [before|once] you [finish|go "
        "on].",
        "[The whole job|All this] should [cost|come to] no more than {number} [coins|hours' wages|loaves of bread].",
        "[Most mistakes|Failures] come from [blunt tools|wet hands|poor light|skipping a step] [and|or] [wrong "
        "measures|cold rooms|haste].",
    ],
}

_TASKS = """
bake a rye loaf|a large bowl;a proving basket;a heavy pot;kitchen scales
Stir {80-140} g of [lively|bubbling] starter into [warm|lukewarm] water. Add {400-600} g of rye flour and a [spoon|\
pinch] of salt. [Mix|Work] it with a wet hand until no dry flour [is left|remains]. [Cover|Wrap] the bowl and leave \
it [near the stove|in a warm corner] for {number} hours. [Shape|Turn] the dough on a floured board [without|avoiding] \
much kneading. Let it rise in the basket [until it cracks|until the surface splits]. Heat the pot [until|so that] a \
drop of water [dances|hisses]. Bake for {42-70} minutes and [tap|knock on] the base. [Wait|Leave it] a full day \
before [slicing|cutting] it.
mend a puncture|two tire levers;a patch kit;a bucket of water;a hand pump
Let the rest of the air out and [work|push] the tire off with the levers. [Draw|Pull] the tube out [beside|next to] \
the valve. Pump it up a little and [hold|turn] it under water. [Mark|Circle] the spot where bubbles [rise|appear]. \
[Dry|Wipe] the rubber and roughen an area {2-4} cm wide. Spread [thin|a film of] glue and wait {3-9} minutes [until|\
so that] it turns dull. Press the patch [from the middle outwards|hard with a thumb]. Feel [along|round] the inside \
of the tire for [a thorn|glass|a nail]. Refit the tube, [then|and] pump to {3-6} bar.
keep a beehive|a smoker;a hive tool;a veil;a spare frame
[Choose|Look for] a [dry|sheltered] spot that [faces|looks] south. [Light|Fill] the smoker with [dry grass|sacking] \
and [send|give] {2-6} puffs in at the entrance. [Lift|Take off] the roof without [jarring|knocking] the boxes. Loosen \
the outermost frame [first|before the others]. [Look|Search] for eggs, [which prove|a sign] that the queen was there \
{1-3} days ago. [Count|Note] the frames of brood and of stores. [Give|Add] another box when {7-9} frames are [full|\
covered]. Close up [within|after at most] {10-25} minutes. [Feed|Offer] syrup in {month} if the hive [feels|is] light.
plant an apple tree|a spade;a stake;soft twine;a bag of compost
Soak the roots [overnight|for {2-9} hours] in [rain water|a tub]. Dig a square hole {60-95} cm wide, [no deeper than|\
as deep as] the roots. [Drive|Knock] the stake in on the [windy|west] side. [Spread|Fan out] the roots [over|on] a \
small mound. Keep the graft {8-15} cm above the [soil|ground]. [Fill in|Return the earth] while [shaking|lifting] the \
trunk gently. Tread firmly [with the heel|all round]. Tie the twine in a figure of eight. Water with {10-25} liters \
[each week|every {number} days] in the first summer.
paint a window frame|a scraper;fine sandpaper;a narrow brush;a tin of primer
[Open|Unlatch] the window and [wedge|prop] it. Scrape away [loose|flaking] paint [down to|until you reach] sound \
wood. Press filler into [cracks|joints] and [let it harden|leave it] for {2-8} hours. Sand [lightly|along the grain] \
and [wipe off|brush away] the dust. [Prime|Seal] bare wood [the same day|before dew falls]. [Load|Dip] the brush to a \
third of its [length|hair]. [Draw|Lead] the paint {1-3} mm onto the glass to [keep out|seal against] water. [Leave|\
Let] it dry for {12-30} hours. Add a second coat [within|before] {number} days.
sharpen a kitchen knife|a whetstone;a damp cloth;an old cork;a leather strap
[Soak|Lay] the stone in water for {5-20} minutes. [Set|Place] it on the cloth so that it [cannot slip|stays put]. \
Hold the blade at {15-22} degrees, [about|roughly] the height of [two coins|a pencil]. [Push|Draw] it across [in arcs|\
from heel to tip] {10-30} times. [Feel|Check] for a burr [along|on] the far side. [Turn|Flip] the knife and [repeat|\
do the same]. Move to the fine side [with less pressure|and lighten your hand]. Pull the edge through the cork to \
[remove|take off] the burr. [Finish|Polish] it on the strap with {6-20} strokes.
make plum jam|a wide pan;a wooden spoon;clean jars;a cold saucer
[Halve|Stone] {2-5} kg of [ripe|firm] plums. Weigh them and [measure|take] {50-80} percent of that in sugar. [Warm|\
Heat] the fruit [alone|with a little water] until it [collapses|softens]. Add the sugar and stir till it [has \
dissolved|no longer grates]. Boil [hard|rapidly] for {10-25} minutes. [Drop|Put] a little on the saucer and [push|\
nudge] it with a finger. If it wrinkles, [take|lift] the pan off. [Skim|Spoon off] the foam. Pour into [hot|warmed] \
jars, [filled|leaving room] to {1-2} cm below the rim. [Label|Mark] each jar with the month.
sweep a chimney|a set of rods;a round brush;a dust sheet;a strong torch
Let the fire go out [the day before|overnight]. [Move|Roll back] the rug and [spread|tape] the sheet over the hearth. \
[Screw|Fix] the brush to the first rod. [Push|Work] upwards, [adding|joining] a rod every {80-110} cm. [Always|Only] \
turn clockwise, [or|lest] the rods [come apart|part inside]. Stop when the brush [pops|comes] out at the top. [Draw|\
Bring] it down [slowly|in short strokes]. [Wait|Rest] {15-40} minutes for the soot to settle. [Shine|Point] the torch \
up and look for [cracks|a nest]. [Bag|Shovel up] the soot, [which suits|good for] [roses|onions].
knit a scarf|two wooden needles;three balls of wool;a blunt needle;small scissors
Cast on {32-60} stitches [loosely|without pulling]. [Knit|Work] the first row into the back of each loop. Slip the \
first stitch of every row [for|to get] a neat edge. [Change|Swap] the color after {12-40} rows. Count [again|the \
stitches] whenever you [pick it up|sit down]. [Join|Start] a new ball at the edge, [never|not] in the middle. Stop at \
{130-190} cm, [measured|taken] [without stretching|lying flat]. Cast off [one needle size larger|with a loose hand]. \
Weave the ends in over {5-9} cm. Wash it [by hand|in cool water] and pin it out to dry.
fix a dripping tap|an adjustable spanner;a new washer;a screwdriver;an old towel
Turn off the water [under the sink|at the main] and [open|run] the tap. [Plug|Cover] the drain so that no screw [is \
lost|falls in]. [Lever|Prise] off the cap and [undo|loosen] the screw below. [Wrap|Pad] the jaws [to spare|and \
protect] the chrome. Unscrew the head {3-7} turns. [Lift|Pull] out the [worn|hardened] washer. Look at the seat [with \
a torch|closely] and [smooth|clean] it. Fit a washer of the same size, [commonly|often] {12-20} mm. [Grease|Oil] the \
thread [sparingly|a little]. Put [everything|the parts] back in reverse order. Open the water [slowly|by quarter turns].
lay a brick path|a spirit level;a rubber mallet;a string line;a barrow of sand
[Mark|Peg] the edges [with string|and stretch a line]. Dig out {15-25} cm of soil. [Tip in|Spread] rubble and [ram|\
tamp] it [until|so that] a heel leaves no [print|mark]. Rake {3-6} cm of sand [level|over it]. Let the path [fall|\
slope] {1-3} cm [to one side|per meter] for the rain. Start [at the straightest edge|from the door]. Tap each brick \
[down|home] with the mallet. [Check|Test] every {number} rows with the level. [Cut|Break] bricks [with a bolster|on \
the sand]. Brush dry sand into the joints [twice|until they are full].
set up a tent|twelve pegs;two poles;a groundsheet;a mallet
Walk the site and [pick out|remove] stones and cones. [Face|Turn] the door [away from|out of] the wind. Unroll the \
groundsheet and [smooth|pull] it flat. Peg the {2-4} corners [first|before the rest] at {40-50} degrees. Slide the \
poles [in|through] without [forcing|bending] them. [Raise|Lift] the tent [together|on a count of three]. Tighten the \
lines [a little at a time|evenly]. Leave {10-20} cm [between|of air between] the inner and outer [skin|cloth]. Dig no \
trench, [but|only] [avoid|stay out of] hollows. Air the tent [each morning|every day before noon].
brew mint tea for a crowd|a samovar;a glass jug;a tea strainer;small glasses
Rinse the pot with [boiling|very hot] water. [Put in|Measure] {3-9} spoons of green tea. Pour on a [cup|glass] of \
water, swirl and [throw|pour] it away. [Wash|Shake] {2-5} bunches of mint. Press the leaves [into|down in] the pot, \
[stalks and all|without the thick stalks]. Add sugar, [about|near] {60-150} g. Fill up and [wait|let it stand] {4-8} \
minutes. Pour a glass and return it to the pot [twice|three times] [to mix it|for an even taste]. Serve from [high up|\
a height], [which|as this] makes foam.
wash a woolen blanket|a bathtub;soap flakes;two towels;a drying rack
[Shake|Beat] the blanket [outdoors|over a rail]. Run {15-25} cm of [cool|hand warm] water. [Dissolve|Stir in] {30-80} \
g of flakes [completely|until clear]. Press the wool [under|down] with flat hands. [Never|Do not] rub or wring it. \
Soak it for {5-15} minutes [only|and no longer]. Rinse {2-4} times in water of the same [warmth|temperature]. [Roll|\
Wrap] it in a towel and [kneel|press] on it. [Lay|Spread] it [flat|over several bars], away from [the sun|heaters]. \
Brush up the nap [once dry|after {1-3} days].
prune a rose|sharp secateurs;thick gloves;a small saw;a bucket
Wait until [frost is over|the buds swell]. [Take out|Cut away] whatever is [dead|brown] or [crosses|rubs]. [Saw|Cut] \
old wood at the base, [at most|no more than] a third [each year|of it]. Shorten the rest to {3-7} buds. Cut {4-8} mm \
above a bud that [points|looks] outwards. [Slope|Angle] the cut [so that rain runs off|away from the bud]. [Pull|\
Tear] suckers off [below ground|at the root], [since|for] cutting makes them [return|branch]. [Clear|Rake up] the \
leaves. [Feed|Dress] the bed with {1-3} [buckets|forks] of compost.
write a letter of complaint|a copy of the receipt;a calendar;plain paper;a large envelope
[Begin|Start] with the date and [your address|where you live]. [Name|State] the [goods|work] and the day you [bought|\
ordered] them. Say [what went wrong|what is broken] in {1-3} [sentences|lines]. [Keep to|Stick with] facts that [can \
be shown|you can prove]. [Avoid|Leave out] insults, [however|even if] angry you are. [Ask|Say] what you want: [a \
repair|your money back|a visit]. [Set|Give] a date, [usually|say] {10-28} days ahead. [Enclose|Add] copies and keep \
the [originals|real ones]. Sign it and [ask for|get] proof of posting.
train a puppy to sit|soft treats;a short lead;a quiet room;a clicker
Pick a time when the dog is [hungry|awake but calm]. [Hold|Show] a treat [at|before] its nose. [Move|Raise] the hand \
[back|slowly] over its head. [As|When] the head goes up, the tail [goes|sinks] down. [Praise|Click] [in that second|\
at once] and [give|hand over] the treat. [Repeat|Do it] {5-12} times, [not more|then play]. Add the word [only|just] \
when it [works|sits] without fail. [Practice|Train] in {2-6} short [sessions|turns] a day. [Go|Move] to [busier|\
noisier] places after {number} days. [Never|Do not] push the back [down|with your hand].
build a compost heap|four pallets;a garden fork;strong wire;a piece of carpet
[Stand|Set] the pallets in a square and wire [the corners|them]. Put {15-30} cm of [twigs|straw] at the bottom. \
[Alternate|Layer] green and brown [waste|stuff]. [Tear up|Shred] cardboard [first|by hand]. Leave out [meat|cooked \
food] and [roots of|seeding] weeds. [Wet|Water] dry layers until they [feel like|are as damp as] a wrung sponge. \
[Cover|Top] the heap with the carpet. [Turn|Fork] it over after {3-8} weeks. [Look|Hope] for steam on [cold|frosty] \
mornings. [Use|Sieve] it after {6-14} months, when it smells of [woods|earth].
read a tide table|a printed table;a watch;a chart of the bay;a pencil
Find the port [nearest to|closest to] your beach. [Look up|Turn to] the date, [then|and] check for summer time. [Note|\
Write down] both [high|low] waters. [Subtract|Take] the heights to get the range, [here|often] {2-9} meters. [Divide|\
Split] the time between into [six|equal] parts. Expect [half|most] of the rise in the [third and fourth|two middle] \
parts. [Allow|Add] {10-40} minutes for [wind|low pressure]. [Turn|Start] back [well|{30-60} minutes] before the \
flood. [Never|Do not] trust [a table|figures] from [last|another] year.
repair a torn page|thin tissue;wheat paste;a soft brush;a bone folder
Lay [waxed paper|a sheet of glass] below the leaf. [Align|Bring together] the edges [so that|until] the print meets. \
Tear the tissue {4-9} mm wider than the [rip|damage]; do not cut it. [Thin|Dilute] the paste to the [thickness|body] \
of cream. Brush it on [the tissue|sparingly]. [Lay|Place] the strip [down|on] in one [move|go]. [Smooth|Rub] it \
through [clean|blotting] paper. [Change|Renew] the blotter after {5-15} minutes. Press the book for {8-30} hours \
[under bricks|in a press]. Trim [what sticks out|the ends].
"""


def _tasks() -> dict[str, tuple[list[str], list[str]]]:
    lines = _TASKS.strip().split("\n")
    heads = [line.split("|") for line in lines[::2]]
    return {
        name: (tools.split(";"), [step.rstrip(".") + "." for step in steps.split(". ")])
        for (name, tools), steps in zip(heads, lines[1::2], strict=True)
    }


TASKS = _tasks()
