"""Sentence templates of the encyclopedia and the stories: paragraph -> templates. See grammar.py for the brackets."""

TOWN: dict[str, list[str]] = {
    "first": [
        "{town} is a [town|market town|borough] in {county}, on the [north|south|east|west] bank of the river {river}.",
        "It was founded in {founded} and [has|counts] about {people} [inhabitants|residents|people].",
        "[Its|The town's] [best known|most visited] [sight|landmark] is {sight}, [restored|rebuilt|repaired after a "
        "storm] in {year}.",
        "The [name|word] {town} [first appears|is first recorded] in [a tax roll|a monk's letter|a land grant] of "
        "{founded}.",
        "[It lies|It is] {4-39} km from {near} and {6-48} km [from|by rail from] {near}.",
        "[To visitors|Abroad] it is [mainly|chiefly] known for {sight} and for {trade}.",
    ],
    "second": [
        "[For centuries|Since the {founded} charter] the [chief|main] [trade|occupation] of {town} was {trade}, "
        "[carried on|practised] in [small workshops|long sheds|family yards] [by the {river}|behind the market].",
        "[A railway|A canal|A toll road] from {near} [reached|was opened to] the town in {year}, and {trade} "
        "[doubled|grew|changed hands] within {number} years.",
        "[The great flood|A fire|A harsh winter|An epidemic] of {year} [destroyed|emptied] [a third|half|most] of the "
        "[lower town|old quarter], [after which|and] the council [built|paid for] [a sea wall|wider streets|new "
        "wells|a hospital].",
        "{person} [lived|worked|spent {number} years] here and [paid for|designed|described] {sight}.",
        "[Unlike|In contrast to] {near}, which lives from {near_trade}, {town} [never gave up|still depends on|is "
        "proud of] {trade}.",
        "[Workers|Apprentices|Masters] in {trade} [formed|founded] [a guild|a union|a savings bank] in {year}[, one "
        "of the oldest in {county}|].",
        "[During|In] the [war|famine|long strike] of {year} [many|several hundred] families [moved|walked] to {near}.",
    ],
    "third": [
        "[A fair|The town fair|A festival] with [music|boat races|a cattle market|lantern walks] is held every "
        "{festival}.",
        "[The river meadows|The cliffs|The parks|The old quarry ponds] [shelter|are home to] the {animal} and the "
        "{animal}.",
        "[Today|At present] [most people|young people] [work|find work] in [schools|offices|tourism|food "
        "packing|light industry], though {number} [firms|families] [keep up|continue] {trade}.",
        "[The museum|A small gallery|The town hall] [shows|keeps] [tools|letters|paintings|maps] [left by|once owned "
        "by] {person}.",
        "[Trains|Buses|Ferries] to {near} [leave|run] every {number} [hours|minutes in summer], [less often|but not] "
        "on {day}s.",
        "[The climate is mild|Fog is frequent|Summers are dry], with [most rain|the first frost|the strongest wind] "
        "in {month}.",
        "[Two|Three] schools, [a library|a swimming pool|an adult college] and [a theater|a daily market] [serve|draw "
        "people from] the [villages around|whole of {county}].",
    ],
}

PERSON: dict[str, list[str]] = {
    "first": [
        "{name} ({born} to {died}) was a [influential|little known|celebrated|] {calling} from {town} in {county}.",
        "[{he} is remembered|{last} is known] [above all|chiefly|today] for {work}.",
        "[Born|{last} was born] in {born} [to|into] a family [that lived from|engaged in] {trade}[ with {number} "
        "children|].",
        "[A childhood illness|The early death of {his} father|A gift of books|A broken leg] [led|turned] {last} "
        "[to|towards] [drawing|reading|mathematics|music|the study of plants].",
        "{he} went to school in {near} and [later|afterwards] [learned|studied] under {person}.",
    ],
    "second": [
        "[In {year}|By {year}|About {year}] {last} [moved|travelled] to {near}, where {he} [worked|lodged] with "
        "{person}.",
        "[Work on {work}|The plan for {work}] [was begun|became known|was finished] in {year} [and|but] [sold poorly "
        "at first|won a prize|was copied widely|drew angry letters].",
        "[Critics|Rivals|Neighbors] [called|found] it [clumsy|dangerous|too plain|ahead of its time], [though|but] "
        "{person} [praised|defended] it [in public|in a long letter|until the end].",
        "{he} [kept|wrote] [a diary|notebooks|letters] [throughout {his} life|for {number} years], [of which {number} "
        "volumes survive|now held in {near}].",
        "[Money was short|Sales were slow], and {last} [earned a living|got by] as a {job} [in|near] {near} [for "
        "{number} years|until {year}].",
        "[A quarrel|A lawsuit|A long friendship] with {person} [filled|shaped] {his} [middle|last] years.",
    ],
    "third": [
        "{last} [married late|never married|married twice] and [had {number} children|left no children|brought up a "
        "nephew].",
        "[{he} died|Death came] in {died} in {near}, [after a short illness|during a storm|while at work|in {his} "
        "sleep].",
        "[A street|A school|A prize|A small moon crater|A rose] [is|was] named after {last}, [and|while] [a statue|a "
        "plaque] [stands|can be seen] in {town}.",
        "[Later|Modern] [scholars|writers], [among them|such as] {person}, [doubt|have asked] whether {work} was "
        "[entirely|really] {his} own.",
        "[Students|Visitors] still [come|travel] to {town} [on {his} birthday in {month}|every {month}] [to see|for] "
        "[the workshop|the grave|the manuscripts].",
        "[Interest|New interest] in {work} [revived|returned] [after|with] an exhibition in {near} [that|which] "
        "[toured {number} towns|ran for {number} months].",
    ],
}

ANIMAL: dict[str, list[str]] = {
    "first": [
        "The {animal} is [a small|a shy|a common|a rare|a noisy] animal of {home}, [about|some] {length} cm long.",
        "It [feeds|lives] [mainly|mostly] on {food}, [which it gathers|taken] [at dusk|before dawn|after rain|at low "
        "tide].",
        "[Its|The] [nearest relative|closest kin] is the {other}, [from which it differs|but it can be told apart] by "
        "[a shorter tail|paler eyes|a ring at the neck|its call].",
        "[The first description|The first drawing] was [made|published] in {year} by {person}.",
        "[Both sexes|Adults] [have|carry] [a dark stripe|two pale spots|a rough crest] [along the back|behind the "
        "eyes], [which fades|that brightens] in {month}.",
    ],
    "second": [
        "[It raises|A pair raises] {young} young [at a time|a year], born in {born}.",
        "[The nest|The den] is [built|dug|lined] [by both parents|by the female] with [moss|hair|dry grass|shells] "
        "and [used|kept] for {number} years.",
        "[Young|Fledged] animals [leave|wander off] after {number} weeks and [may travel|have been found] [as far "
        "as|beyond] {town}.",
        "[In winter|In cold years] it [sleeps|moves to the coast|gathers in flocks|grows a thicker coat] and [lives "
        "on stored|eats little but] {food}.",
        "[Its call|The voice], [a low whistle|a dry rattle|a double click], [carries|is heard] [over water|at "
        "night|before storms].",
        "It [shares|competes for] {home} with the {other}, [which it avoids|and the two are often confused].",
    ],
    "third": [
        "[Numbers|Counts] near {town} [fell|rose|halved] [between {year} and 2021|after {year}] [because "
        "of|following] [drainage|new hedges|a ban on traps|mild winters|road building].",
        "[Farmers|Fishers|Millers] [once|used to] [hunt|protect|feed] it [for its fur|because it kept down pests|for "
        "luck], [and|so] [songs|inn signs] in {town} [mention|show] it.",
        "[A reserve|A warden|A breeding station] [near|outside] {town} [has cared for|watches] it since {year}.",
        "{person} [kept|painted|studied] one [for {number} years|in a walled garden] and [wrote|claimed] that it "
        "[knew its name|could count|hated thunder].",
        "[It is|The species is] [protected by law|still hunted|thought safe], [but|although] [the "
        "{other}|pollution|traffic] [remains a threat|is pushing it out].",
    ],
}

STORY: dict[str, list[str]] = {
    "opening": [
        "It was [a|one] {day} [morning|evening] in {month}, and {hero} [was late|had forgotten {his} coat|wanted to "
        "be alone].",
        "{hero} [lived|had grown up|had rented a room] in {town}, [between|behind] the {sight} and the river {river}.",
        "Everyone in {town} [knew|said] that {elder} [never opened the door|kept a secret|had once been a {job}].",
        "{friend} [arrived|came back] from {near} with [a letter|a locked box|a torn map|an empty cage|a brass key] "
        "[under one arm|in a coat pocket|wrapped in newspaper].",
        "The [wind|rain|fog|heat] had [lasted|not let up] for {number} days, [and|so] nobody [went out|spoke "
        "much|slept well].",
        "[Before breakfast|After supper|At noon] {hero} [heard|noticed] [a knock|a strange light|singing|a smell of "
        "smoke] near the {sight}.",
    ],
    "trouble": [
        '"[Somebody|A stranger] has been [asking for you|in the boathouse|at the {sight}]," {friend} '
        "[said|whispered], [without sitting down|looking back at the street].",
        "{hero} [did not answer|only shrugged|put down the cup]; {he} [thought of|remembered] the "
        "[promise|debt|quarrel] from {month}.",
        "[The {animal}|A {animal}] [sat|had been seen|was drawn] [on the wall|by the pump|under the eaves], [and in "
        "{town} that meant|which some took for|a sign of] [bad weather|a visitor|money|a wedding].",
        "[By {day}|Before long] the [news|rumor] had [reached|gone round] the [harbor|market|school|inn], and {elder} "
        "[sent for|wanted to see] {him}.",
        "[The box|The letter|What they found] was [heavier|older|smaller] than it [looked|should have been], and [the "
        "seal|the lock|the lid] was [broken|warm|covered in salt].",
        "[Nobody|Not even {elder}] could [say|explain] why {number} [boats|lamps|chairs|bells] had [vanished|been "
        "moved|been painted white].",
        "{friend} [wanted|begged] to [tell|ask] {elder}, but {hero} [shook {his} head|refused|had a better idea].",
    ],
    "journey": [
        "They [set out|left|crept away] [before dawn|by the back lane|with the {number} o'clock ferry], [past|along] "
        "the {river}, and [reached|came to] {near} [at dusk|by nightfall|soaked through].",
        "[Twice|Three times] they [lost the path|had to turn back|hid] [in the reeds|behind a hay cart|under a "
        "bridge] [while|until] [a cart|riders|the watchman] [went|passed] by.",
        "[A {job}|An old {job}] [gave|sold] them [bread and cheese|dry socks|a lantern|directions] and [warned|told] "
        "them [about|of] the [marsh|miller's dogs|new law|bridge].",
        "{hero} [tried|wanted] to [read|sleep|sing], but [every sound|the cold|a single thought] kept {him} [awake|on "
        "edge].",
        '"[We should|Let us] [go home|ask at the inn|wait for daylight]," {friend} said; "[nobody would blame '
        'us|{elder} will know|it is only a {animal}]."',
        "[At the crossroads|On the far bank|Beyond the last house] [lay|they found] [a glove|fresh tracks|a burned "
        "fire|one of the missing bells].",
        "[The road|The lane] [climbed|wound] through [orchards|dunes|quarries|beech woods], where [men|women] engaged "
        "in {trade} [stopped|looked up|waved] as they [passed|went by].",
    ],
    "turning": [
        "[Then|At that moment|Suddenly] [the lamp went out|the ice cracked|a bell rang|the door opened], and {elder} "
        "[stood|was] there, [smiling|out of breath|holding a spade].",
        "{hero} [understood|saw] [at once|slowly] that [the map showed {town}|the thief was a child|the key fitted "
        "{his} own door|nothing had been stolen].",
        '"I [hid|took|kept] it [because|so that] [your mother asked me to|it would be safe|no one would believe '
        'me]," {elder} [said|explained] [at last|quietly].',
        "{friend} [laughed|wept|ran to the water|sat down], [and|while] the {animal} [flew up|slipped away|did not "
        "move].",
        "[For a while|For {number} minutes] nobody [spoke|moved]; only the {river} [went on|could be heard].",
        "[With a rope|With both hands|Using the old boat hook] {hero} [pulled|lifted] [the chest|the child|the sack] "
        "[out of the mud|over the wall|onto the bank].",
    ],
    "ending": [
        "[In the end|When it was over|Three days later|After the frost] they [walked|rowed|rode] [home|back to "
        "{town}] and [told no one|told everyone|shared the money].",
        "{elder} [opened|mended|gave away] the [house|boat|shop] [that {month}|before winter], and {hero} [took "
        "up|was often seen at] {hobby} there.",
        "[People|Children] in {town} still [point|look] [to|at] the {sight} and [say|swear] [it happened there|that a "
        "light burns|one can hear the bell].",
        "{friend} [stayed|went to sea|became a {job}], [but|and] [wrote|came back] every {month}.",
        "[As for|And] the {animal}, it [was seen|came] once more, [on {day}|the following {month}], [and then never "
        "again|the last anyone heard of it|to say goodbye|thinner than before].",
        "{hero} [kept|hung up] the key [above the door|on a string|in a jar], [and|where] [it rusted|nobody asked "
        "about it|it is to this day].",
        '"[Next time|Another year]," said {friend}, "[we stay at home|I carry the lamp|you do the talking]."',
    ],
}
